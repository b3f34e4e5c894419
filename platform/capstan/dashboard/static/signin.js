// Signs in with a pasted token, or with the code that `capstan open` put behind the #.

import { ask, root } from "./root.js";

const refused = document.getElementById("refused");

async function enter(what) {
  const answer = await ask(`${root}api/session`, { method: "POST", body: JSON.stringify(what), headers: { "content-type": "application/json" }, keep: true });
  if (answer.ok) { location.replace(location.pathname); return; }
  refused.textContent = answer.body.reason ?? `The page answers ${answer.status}.`;
}

document.getElementById("signin").addEventListener("submit", (event) => {
  event.preventDefault();
  const box = document.getElementById("token");
  enter({ token: box.value });
  box.value = "";
});

const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  // Out of the address at once; it holds for a minute, and only once.
  history.replaceState(null, "", location.pathname);
  enter({ code });
}
