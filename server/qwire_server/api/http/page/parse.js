// From a file or pasted text to entries. Pure.

export const MOST_ENTRIES = 20000; // 80 MB of vectors of 1024 values

const FIELDS = ["title", "question", "query", "text", "content", "body", "passage", "answer",
  "标题", "问题", "文本", "内容", "正文", "答案", "回答"];

/** Bytes as text: UTF-8, UTF-16 with its mark, else what Chinese spreadsheets write. */
export function decode(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("gb18030").decode(bytes);
  }
}

/** Entries of a file, by the end of its name. */
export function parse(name, text) {
  if (text.includes("\0")) return [];
  const kind = name.toLowerCase().split(".").at(-1);
  const read = { csv: fromTable, tsv: fromTable, jsonl: fromJsonLines, ndjson: fromJsonLines };
  return (read[kind] ?? fromLines)(text).map((entry) => entry.trim()).filter(Boolean);
}

function fromLines(text) {
  return text.split(/\r\n|[\n\r]/);
}

/** A text or an object a line; a line that is neither is an entry as it stands. */
function fromJsonLines(text) {
  return fromLines(text).map((line) => {
    try {
      return textOf(JSON.parse(line));
    } catch {
      return line;
    }
  });
}

function textOf(value) {
  if (typeof value !== "object" || value === null) return String(value);
  const known = FIELDS.map((field) => value[field]).filter((part) => typeof part === "string");
  return (known.length ? known : Object.values(value).filter((part) => typeof part === "string")).join(" ");
}

/** A row an entry: its columns with known names, or all if no name is known. */
function fromTable(text) {
  const rows = cells(text, separator(text));
  const head = (rows[0] ?? []).map((name) => name.trim().toLowerCase());
  const known = head.flatMap((name, column) => (FIELDS.includes(name) ? [column] : []));
  const body = known.length ? rows.slice(1) : rows;
  return body.map((row) => (known.length ? known.map((column) => row[column] ?? "") : row)
    .map((cell) => cell.trim()).filter(Boolean).join(" "));
}

/** Whichever the first line has most of. */
function separator(text) {
  const first = text.split(/[\r\n]/, 1)[0];
  const count = (character) => first.split(character).length;
  return ["\t", ";"].reduce((best, one) => (count(one) > count(best) ? one : best), ",");
}

/** Rows of cells (RFC 4180): a quoted cell may hold separators, line ends and doubled quotes. */
export function cells(text, separator) {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i];
    const row = rows.at(-1);
    if (quoted) {
      if (character !== '"') row[row.length - 1] += character;
      else if (text[i + 1] === '"') row[row.length - 1] += text[i += 1];
      else quoted = false;
    } else if (character === '"' && !row.at(-1)) quoted = true;
    else if (character === separator) row.push("");
    else if (character === "\n" || character === "\r") rows.push([""]);
    else row[row.length - 1] += character;
  }
  return rows.filter((row) => row.some((cell) => cell));
}
