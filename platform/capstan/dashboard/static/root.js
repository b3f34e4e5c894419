// Where the page's root is, seen from this document: the page works below any prefix.

export const root = document.documentElement.dataset.root;
export const OWN = { "x-capstan-page": "1" };

/** JSON of an address; a person whose session is over signs in again. */
export async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { ...OWN, ...options.headers } });
  if (answer.status === 401 && !options.keep) location.reload();
  const body = await answer.json().catch(() => ({}));
  return { ok: answer.ok, status: answer.status, body };
}

export async function signOut() {
  await ask(`${root}api/session`, { method: "DELETE", keep: true });
  location.href = root;
}
