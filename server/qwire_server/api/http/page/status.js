// Says how the server is, and again until it is ready.

const status = document.getElementById("status");
const models = document.getElementById("models");
const AGAIN_MS = 1000;

async function look() {
  try {
    const health = await (await fetch("health/ready")).json();
    status.textContent = health.reason ? `${health.status}: ${health.reason}` : health.status;
    if (health.status === "ready") return show((await (await fetch("v1/models")).json()).data);
  } catch (error) {
    status.textContent = "the server does not answer";
  }
  setTimeout(look, AGAIN_MS);
}

function show(served) {
  for (const model of served) {
    const name = document.createElement("dt");
    name.textContent = model.id;
    const told = document.createElement("dd");
    told.textContent = `at most ${model.max_tokens} tokens, fingerprint ${model.fingerprint}`;
    models.append(name, told);
  }
}

look();
