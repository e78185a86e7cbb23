// Shows openapi.json: each route, what it is for, the fields of its body.

function made(tag, text, kind) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function type(field) {
  if (field.enum) return field.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (field.anyOf) return field.anyOf.map(type).join(" | ");
  if (field.type === "array") return `list of ${type(field.items ?? {})}`;
  return field.type ?? "anything";
}

function fields(schema) {
  const list = made("dl");
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const required = (schema.required ?? []).includes(name);
    const term = made("dt");
    term.append(made("code", name), required ? " (required)" : "");
    const preset = field.default === undefined || field.default === null
      ? "" : `, default ${JSON.stringify(field.default)}`;
    const told = field.description ? `: ${field.description}` : "";
    list.append(term, made("dd", type(field) + preset + told));
  }
  return list;
}

function route(path, method, operation) {
  const part = made("details");
  const head = made("summary");
  head.append(made("span", method.toUpperCase(), "method"), made("code", path));
  head.append(` ${operation.description ?? ""}`);
  part.append(head);
  const schema = operation.requestBody?.content["application/json"]?.schema;
  if (schema) part.append(fields(schema));
  return part;
}

async function show() {
  const about = document.getElementById("about");
  try {
    const told = await (await fetch("openapi.json")).json();
    about.textContent = told.info.description.replaceAll("`", "");
    const routes = document.getElementById("routes");
    for (const [path, methods] of Object.entries(told.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        routes.append(route(path, method, operation));
      }
    }
  } catch (error) {
    about.textContent = "the server does not answer";
  }
}

show();
