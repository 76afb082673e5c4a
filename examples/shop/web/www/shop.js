// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";

const show = (id, text) => { document.getElementById(id).textContent = text; };

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

ask("/api/version")
  .then((body) => show("api-release", body.release))
  .catch((error) => show("api-release", error.message));

document.getElementById("order").addEventListener("click", () => {
  // randomUUID is for secure contexts only; the page must also work over plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  ask("/api/orders", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id, item: "one" }),
  })
    .then((body) => show("result", `stored by release ${body.release}`))
    .catch((error) => show("result", error.message));
});
