// Raw gRPC from Node, with the contract of the repository and no generated code:
//   npm install && node ask.js localhost:50051 "When do I get my money back?"
// Embeds a few documents and the question, then prints the documents, the best one first.

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const DOCUMENTS = [
  "Refunds are paid back to your card within five days.",
  "Restart the pod with kubectl rollout restart.",
  "Your invoice is in the billing section of your account.",
];

const contract = path.join(__dirname, "..", "..", "proto");
const { qwire } = grpc.loadPackageDefinition(
  loadSync("qwire/v1/embedding.proto", { includeDirs: [contract], keepCase: true, enums: String }),
);

async function main(target, question) {
  const client = new qwire.v1.Embedding(target, grpc.credentials.createInsecure());
  try {
    const documents = await embed(client, DOCUMENTS, "INPUT_TYPE_DOCUMENT");
    const [asked] = await embed(client, [question], "INPUT_TYPE_QUERY");
    const ranked = DOCUMENTS.map((text, i) => ({ text, score: dot(asked, documents[i]) }));
    ranked.sort((a, b) => b.score - a.score);
    for (const { text, score } of ranked) console.log(score.toFixed(4), text);
  } finally {
    client.close();
  }
}

// One vector for each text, as Float32Array.
async function embed(client, texts, inputType) {
  const { vectors } = await unary(client, "Embed", { texts, options: { input_type: inputType } });
  const values = floats(vectors.data);
  return texts.map((_, i) => values.subarray(i * vectors.dim, (i + 1) * vectors.dim));
}

// Little-endian float32, as every machine that runs Node has them; copied, as a message's bytes may
// begin at an address that is no multiple of four.
function floats(buffer) {
  return new Float32Array(Uint8Array.from(buffer).buffer);
}

function unary(client, method, request) {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 60_000;
    client[method](request, { deadline }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

const [target = "localhost:50051", question = "When do I get my money back?"] = process.argv.slice(2);
main(target, question).catch((error) => {
  console.error(error.details ?? error.message); // the server says what to do
  process.exitCode = 1;
});
