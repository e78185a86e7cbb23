// Knowledge bases to begin with.

export const SAMPLES = [
  { id: "sample-help-en", lang: "en", name: "Help centre", file: "samples/help.en.json" },
  { id: "sample-proverbs-en", lang: "en", name: "Proverbs", file: "samples/proverbs.en.json" },
  { id: "sample-help-zh", lang: "zh", name: "客服知识库", file: "samples/help.zh.json" },
  { id: "sample-poems-zh", lang: "zh", name: "古诗名句", file: "samples/poems.zh.json" },
];

/** A sample's entries, and questions that show what it is good for. */
export async function sample(id) {
  const { lang, name, file } = SAMPLES.find((one) => one.id === id);
  const { texts, questions } = await (await fetch(file)).json();
  return { lang, name, sample: true, texts, questions };
}
