// @ts-check

/** Seconds before the end at which a screen reader says what is left. */
const marks = [60, 10, 0];

/** Counts down to when a person may try again, and holds the button back until then. */
class CountDown extends HTMLElement {
  connectedCallback() {
    const main = this.closest("main");
    const line = this.parentElement;
    const clock = line?.querySelector("time");
    if (!main || !line || !clock) return;
    const words = this.dataset;
    // The server does not know the hour where the person is.
    clock.textContent = new Date(clock.dateTime).toLocaleTimeString(document.documentElement.lang);
    const end = Date.now() + Number(words.seconds) * 1000;
    /** @type {NodeListOf<HTMLElement>} */
    const buttons = main.querySelectorAll("[data-after-wait]");
    const status = document.createElement("span");
    status.className = "vh";
    status.setAttribute("role", "status");
    main.append(status);
    let held = true;

    const release = () => {
      held = false;
      for (const button of buttons) button.removeAttribute("aria-disabled");
    };
    for (const button of buttons) {
      button.setAttribute("aria-disabled", "true");
      button.addEventListener("click", (event) => held && event.preventDefault());
      // Another name may not have to wait.
      button.closest("form")?.querySelector("#username:not([readonly])")?.addEventListener("input", release);
    }

    /** @type {number | undefined} */
    let told;
    const tick = () => {
      const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      const text = (left < 60 ? words.moment : words.minutes) ?? "";
      this.textContent = text.replace("{minutes}", String(Math.floor(left / 60))).replace("{seconds}", String(left % 60));
      const mark = marks.findLast((m) => left <= m) ?? Infinity;
      if (told !== undefined && mark < told) status.textContent = words["at" + mark] ?? "";
      told = mark;
      if (left > 0) return;
      clearInterval(timer);
      line.textContent = words.at0 ?? "";
      release();
    };
    const timer = setInterval(tick, 1000);
    tick();
  }
}

customElements.define("count-down", CountDown);
