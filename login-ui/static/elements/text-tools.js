// @ts-check

/** Copies what a button has, which says so by its value, or prints the page. */
customElements.define("text-tools", class extends HTMLElement {
  connectedCallback() {
    for (const b of this.querySelectorAll("button")) {
      const { copy } = b.dataset;
      b.hidden = false;
      b.onclick = () => copy ? navigator.clipboard.writeText(copy).then(() => { b.textContent = b.value; }) : print();
    }
  }
});
