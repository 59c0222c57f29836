// The server's token: from the address (/#token=..., taken out of it at once) or asked for once; it stays in
// this tab and is sent in a header only.

import { ApiError, send } from "./api.js";
import { byId } from "./dom.js";

const TOKEN = "moodstream.token";
const BY = "moodstream.by";

export function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const by = () => sessionStorage.getItem(BY) || "page";

// Do what takes the token; ask for it where there is none or it is not right. Null: the person changed their mind.
export async function authorised(method, path, body) {
  let problem = "";
  for (;;) {
    const token = sessionStorage.getItem(TOKEN) ?? (await asked(problem));
    if (token == null) return null;
    try {
      return await send(method, path, typeof body === "function" ? body() : body, token);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      sessionStorage.removeItem(TOKEN);
      problem = "That is not this server's token.";
    }
  }
}

function asked(problem) {
  const dialog = byId("ask");
  const said = byId("ask-problem");
  said.textContent = problem;
  said.hidden = !problem;
  byId("ask-token").value = "";
  byId("ask-by").value = sessionStorage.getItem(BY) ?? "";
  return new Promise((answer) => {
    const listening = new AbortController();
    const { signal } = listening;
    let given = null;
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      given = byId("ask-token").value.trim();
      sessionStorage.setItem(TOKEN, given);
      sessionStorage.setItem(BY, byId("ask-by").value.trim());
      dialog.close();
    }, { signal });
    byId("ask-cancel").addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener("close", () => {
      listening.abort();
      answer(given);
    }, { signal });
    dialog.showModal();
  });
}
