// @ts-check

/** Milliseconds after which a form may be sent once more. */
const patience = 10_000;

/** Says that a form is on its way, and lets no second one follow. */
class BusyForm extends HTMLElement {
  connectedCallback() {
    const form = this.querySelector("form");
    if (!form) return;
    /** @type {{button: HTMLElement, nodes: Node[]} | null} */
    let sent = null;

    // A page that comes back from the browser's memory, or whose answer was stopped, is as new.
    const renew = () => {
      sent?.button.removeAttribute("aria-disabled");
      sent?.button.replaceChildren(...sent.nodes);
      sent = null;
    };

    form.addEventListener("submit", (event) => {
      const button = event.submitter;
      if (!button) return;
      if (sent?.button === button) {
        event.preventDefault();
        return;
      }
      renew();
      sent = { button, nodes: [...button.childNodes] };
      button.setAttribute("aria-disabled", "true");
      if (button.dataset.busy) button.textContent = button.dataset.busy;
      setTimeout(renew, patience);
    });
    addEventListener("pageshow", renew);
    form.addEventListener("input", renew);
  }
}

customElements.define("busy-form", BusyForm);
