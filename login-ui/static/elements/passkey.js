// @ts-check

/** Milliseconds for which a ceremony can be begun: the server takes its answer for five minutes. */
const usable = 240_000;

/** What waits for the browser's prompt: there may be one at a time. @type {AbortController | undefined} */
let waiting;

/** @param {string} text base64url, no padding */
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

/** @param {ArrayBuffer} buffer */
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

/** @param {any} one what is named by an ID */
const named = (one) => one && { ...one, id: bytes(one.id) };

/**
 * Makes options for navigator.credentials of their JSON, also in browsers that cannot.
 * @param {string} parse the function of browsers that can
 * @param {any} json
 */
const optionsOf = (parse, json) =>
  // @ts-ignore: not every browser has these.
  PublicKeyCredential[parse]?.(json) ?? {
    ...json, challenge: bytes(json.challenge), user: named(json.user),
    allowCredentials: json.allowCredentials?.map(named), excludeCredentials: json.excludeCredentials?.map(named),
  };

/**
 * Makes JSON of a credential, also of those that cannot.
 * @param {any} credential
 */
const answerOf = (credential) => {
  if (credential.toJSON) return credential.toJSON();
  const { id, type, response: from, authenticatorAttachment } = credential;
  /** @type {Record<string, any>} */
  const response = { transports: from.getTransports?.() };
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (from[name]) response[name] = text(from[name]);
  }
  const clientExtensionResults = credential.getClientExtensionResults();
  return { id, rawId: id, type, response, authenticatorAttachment, clientExtensionResults };
};

/** Makes or uses a passkey and sends the browser's answer with the form that it is in. */
class PasskeyButton extends HTMLElement {
  connectedCallback() {
    this.made = Date.now();
    if (!window.PublicKeyCredential) {
      this.say(isSecureContext ? "unsupported" : "insecure");
      return;
    }
    for (const part of this.querySelectorAll("[hidden]")) part.removeAttribute("hidden");
    this.querySelector("button")?.addEventListener("click", () => this.run());
    if (this.dataset.mediation) this.wait();
  }

  /** Offers passkeys in the list of the username's field, for as long as somebody looks at the page. */
  async wait() {
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    const again = () => document.hidden || this.asking || this.run("conditional");
    again();
    setInterval(again, usable);
    document.addEventListener("visibilitychange", again);
  }

  /** @param {"conditional"} [mediation] without it the browser asks at once */
  async run(mediation) {
    waiting?.abort();
    const { signal } = (waiting = new AbortController());
    this.asking = !mediation;
    if (this.asking) this.say("");
    try {
      await this.renew();
      const json = JSON.parse(this.dataset.options ?? "");
      const answer = await (this.dataset.kind === "create"
        ? navigator.credentials.create({ publicKey: optionsOf("parseCreationOptionsFromJSON", json), signal })
        : navigator.credentials.get({ publicKey: optionsOf("parseRequestOptionsFromJSON", json), mediation, signal }));
      if (answer) this.send(answerOf(answer));
    } catch (error) {
      if (signal.aborted || mediation) return;
      this.say(error instanceof DOMException && error.name === "InvalidStateError" ? "known" : "cancelled");
      this.asking = false;
      if (this.dataset.mediation) this.run("conditional");
    }
  }

  /** Has new options where those of the page are too old. */
  async renew() {
    const { refresh } = this.dataset;
    if (!refresh || Date.now() - Number(this.made) < usable) return;
    const { options, state } = await (await fetch(refresh)).json();
    this.made = Date.now();
    this.dataset.options = JSON.stringify(options);
    this.set("state", state);
  }

  /** @param {any} answer goes where the element says, with the rest of its form */
  send(answer) {
    const button = document.createElement("button");
    button.hidden = button.formNoValidate = true;
    button.formAction = this.dataset.action ?? "";
    this.set("credential", JSON.stringify(answer));
    this.say("busy");
    this.append(button);
    this.closest("form")?.requestSubmit(button);
    button.remove();
  }

  /** @param {string} name @param {string} value */
  set(name, value) {
    const input = this.querySelector(`[name=${name}]`);
    if (input instanceof HTMLInputElement) input.value = value;
  }

  /** @param {string} what */
  say(what) {
    const status = this.querySelector("[aria-live]");
    if (status) status.textContent = this.dataset[what] ?? "";
  }
}
customElements.define("passkey-button", PasskeyButton);

/** Tells the server by a hidden field that the device could have a passkey. */
class PasskeyHint extends HTMLElement {
  async connectedCallback() {
    const input = this.querySelector("input");
    const can = await window.PublicKeyCredential?.isUserVerifyingPlatformAuthenticatorAvailable?.();
    if (input && can) input.value = "1";
  }
}
customElements.define("passkey-hint", PasskeyHint);

/** Tells the browser which passkeys there are here, so that it offers no others. */
class PasskeySignal extends HTMLElement {
  connectedCallback() {
    const { call = "", options = "" } = this.dataset;
    // @ts-ignore: not every browser has these.
    window.PublicKeyCredential?.[call]?.(JSON.parse(options)).catch(() => {});
  }
}
customElements.define("passkey-signal", PasskeySignal);
