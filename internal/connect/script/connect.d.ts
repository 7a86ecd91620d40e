/** What became of a connect session. */
export type Outcome = "connected" | "declined" | "expired" | "failed" | "wrong_account";

export interface ConnectOptions {
  /** A popup (default), or the page itself: then your return_url brings the person back. */
  mode?: "popup" | "redirect";
  /** Of the popup, in CSS pixels. */
  width?: number;
  height?: number;
  /** Stops waiting. The session itself goes on until it expires. */
  signal?: AbortSignal;
  /** Called with "waiting", "pending" and the outcome, whenever it changes. */
  onStatus?: (status: Outcome | "waiting" | "pending") => void;
}

/**
 * Opens a connect link and waits for the outcome. Call it in the click itself:
 * the popup is opened at once, and `link` may be a function that then fetches
 * the connect session's url from your backend.
 *
 * Where the popup is blocked the page itself goes there, and the promise never
 * settles.
 */
export function connect(link: string | (() => string | Promise<string>), options?: ConnectOptions): Promise<{ status: Outcome }>;
