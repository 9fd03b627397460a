// @ts-check

/** Lets a person look at the password that they typed. */
class PasswordField extends HTMLElement {
  connectedCallback() {
    const input = this.querySelector("input");
    const button = this.querySelector("button");
    const status = this.querySelector("[aria-live]");
    if (!input || !button || !status) return;
    const words = button.dataset;

    /** @param {boolean} visible */
    const show = (visible) => {
      input.type = visible ? "text" : "password";
      button.textContent = (visible ? words.hide : words.show) ?? "";
      button.setAttribute("aria-label", (visible ? words.hideLabel : words.showLabel) ?? "");
    };

    button.hidden = false;
    button.addEventListener("click", () => {
      const visible = input.type === "password";
      show(visible);
      status.textContent = (visible ? words.shown : words.hidden) ?? "";
      input.focus();
    });
    // Password managers and the list of former inputs must meet a password field.
    input.form?.addEventListener("submit", () => show(false));
    addEventListener("pageshow", () => show(false));
  }
}

customElements.define("password-field", PasswordField);
