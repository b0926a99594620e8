// @ts-check
/**
 * The state of the connection in plain sight, and the banner when it is over for good.
 *
 * @import {Connectedness, NetraClient} from "./netra-client.js"
 */
import { find, h, setText } from "./dom.js";
import { counted, ticking, timeOfDay } from "./format.js";

export class ConnectionView {
  #client;
  #say;
  #pill = find("#connection");
  #banner = find("#banner");
  #hint = find("#offline-hint");
  #lastSaid = "connecting";

  /** @param {NetraClient} client @param {(sentence: string) => void} say */
  constructor(client, say) {
    this.#client = client;
    this.#say = say;
    client.onConnection((connection) => this.#changed(connection));
  }

  tick() {
    if (this.#client.connection.state === "offline") this.#show(this.#client.connection);
  }

  /** @param {Connectedness} connection */
  #changed(connection) {
    const { state, ended } = connection;
    this.#show(connection);
    if (ended === "session_ended") this.#signedOut();
    else if (ended === "protocol_error") this.#raise("The server does not accept this page any more.", "Reload", location.href);
    if (state === "offline" && this.#lastSaid === "live") this.#say("The connection is lost. It will come back by itself.");
    if (state === "live" && this.#lastSaid === "offline") this.#say("Connected again.");
    if (state === "live" || state === "offline") this.#lastSaid = state;
    if (state === "offline" && !ended) this.#checkSession();
  }

  /** @param {Connectedness} connection */
  #show({ state, since, behind, ended }) {
    if (this.#pill.dataset.state === "ended") return;
    const words = {
      connecting: "Connecting",
      live: "Live",
      catching_up: behind ? `Catching up, ${counted(behind, "event")} to go` : "Catching up",
      offline: since === null ? "Offline" : `Offline since ${timeOfDay(since)} · ${ticking(Date.now() - since)}`,
    };
    this.#pill.dataset.state = ended ? "ended" : state;
    setText(this.#pill.lastElementChild, ended ? "Signed out" : words[state]);
    this.#hint.hidden = state !== "offline";
  }

  /** A refused upgrade looks to a browser like a dead server; a redirect to the log-in page tells them apart. */
  async #checkSession() {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual", cache: "no-store" });
      if (answer.type !== "opaqueredirect") return;
      this.#client.close();
      this.#signedOut();
    } catch {
      // The server can't be reached: the client goes on trying.
    }
  }

  #signedOut() {
    this.#pill.dataset.state = "ended";
    setText(this.#pill.lastElementChild, "Signed out");
    const back = `/accounts/login/?${new URLSearchParams({ next: location.pathname })}`;
    this.#raise("Your session has ended.", "Sign in again", back);
  }

  /** It stays: only a new page mends it. @param {string} text @param {string} label @param {string} href */
  #raise(text, label, href) {
    if (!this.#banner.hidden) return;
    this.#banner.replaceChildren(h("span", { textContent: text }), " ", h("a", { href, textContent: label }));
    this.#banner.hidden = false;
    this.#say(text);
  }
}
