// Behalf's connect script: lets a person connect an application from your page.
//
//   import { connect } from "https://behalf.example.com/connect.js";
//   button.onclick = async () => {
//     const { status } = await connect(() => fetch("/begin", { method: "POST" }).then((r) => r.text()));
//   };
//
// The popup is opened before anything is waited for, or browsers would block it.
// What came of it is asked of the server. Whether the popup is still open says
// nothing: providers cut the tie between a popup and its opener.

/** @typedef {"connected" | "declined" | "expired" | "failed" | "wrong_account"} Outcome */

const ended = new Set(["connected", "declined", "expired", "failed", "wrong_account"]);

/**
 * Opens a connect link and waits for the outcome. Call it in the click itself.
 *
 * @param {string | (() => string | Promise<string>)} link the connect session's url, or a function that fetches it
 * @param {{ mode?: "popup" | "redirect", width?: number, height?: number, signal?: AbortSignal, onStatus?: (status: string) => void }} [options]
 * @returns {Promise<{ status: Outcome }>}
 */
export async function connect(link, options = {}) {
  const popup = options.mode === "redirect" ? null : openPopup(options);
  let url;
  try {
    url = new URL(typeof link === "function" ? await link() : link);
    const here = url.protocol === "http:" && (url.hostname === "localhost" || url.hostname === "127.0.0.1"); // javascript://localhost/ has a host too
    if (url.protocol !== "https:" && !here) {
      throw new TypeError("connect: expected the https url of a connect session");
    }
  } catch (error) {
    popup?.close();
    throw error;
  }
  if (!popup) {
    window.location.assign(url); // the return_url brings the person back
    return new Promise(() => {});
  }
  popup.location.replace(url);
  return outcome(url, options);
}

/** @returns {Window | null} */
function openPopup({ width = 520, height = 760 }) {
  const left = Math.max(0, Math.round(window.screenX + (window.outerWidth - width) / 2));
  const top = Math.max(0, Math.round(window.screenY + (window.outerHeight - height) / 2));
  const popup = window.open("about:blank", "", `popup,width=${width},height=${height},left=${left},top=${top}`);
  if (popup) {
    popup.opener = null; // what is opened must not steer this page
  }
  return popup;
}

/** Asks the server until the session has ended. */
async function outcome(url, { signal, onStatus }) {
  let last = "";
  for (let pause = 1000, failures = 0; ; ) {
    await wait(pause, signal);
    try {
      const answer = await fetch(`${url.origin}${url.pathname}/status`, { credentials: "omit", cache: "no-store", signal });
      if (answer.status === 404) {
        return { status: "expired" };
      }
      if (!answer.ok) {
        throw new Error(String(answer.status));
      }
      const { status } = await answer.json();
      failures = 0;
      pause = Math.min(pause * 1.1, 3000);
      if (status !== last) {
        last = status;
        onStatus?.(status);
      }
      if (ended.has(status)) {
        return { status };
      }
    } catch (error) {
      if (signal?.aborted) {
        throw error;
      }
      failures += 1; // the network comes and goes; the session lasts an hour at most
      pause = Math.min(1000 * 2 ** failures, 15000);
      if (failures > 100) {
        throw error;
      }
    }
  }
}

function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
