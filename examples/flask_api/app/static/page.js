// Fill in what only the application can say: how it sees this client.
"use strict";

async function showClient() {
  const response = await fetch("/whoami");
  const seen = await response.json();
  document.getElementById("client").textContent = seen.client;
  document.getElementById("connection").textContent = `${seen.scheme}://${seen.host}`;
}

showClient().catch((error) => {
  document.getElementById("client").textContent = `unknown (${error.message})`;
});
