// @ts-check

/** Says that Caps Lock is on while a person types a password. */
class CapsLock extends HTMLElement {
  connectedCallback() {
    const form = this.closest("form");
    if (!form) return;

    /** @param {Event} event */
    const look = (event) => {
      // Autofill sends key events that are none.
      if (!(event instanceof KeyboardEvent) || !(event.target instanceof HTMLInputElement)) return;
      if (!event.target.closest("password-field")) return;
      const text = event.getModifierState("CapsLock") ? (this.dataset.text ?? "") : "";
      if (this.textContent !== text) this.textContent = text;
    };

    form.addEventListener("keydown", look);
    form.addEventListener("keyup", look);
  }
}

customElements.define("caps-lock", CapsLock);
