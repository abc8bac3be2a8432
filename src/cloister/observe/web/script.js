"use strict";
// Takes the page anew every two seconds and exchanges its parts; what is open stays open.
(() => {
  const parts = ["summary", "findings", "routes", "rows", "door", "live"];
  const field = document.getElementById("filter");
  document.documentElement.classList.add("scripted");

  const filter = () => {
    const wanted = field.value.toLowerCase();
    for (const row of document.querySelectorAll("#rows tr")) {
      row.hidden = !row.dataset.words.includes(wanted);
    }
  };

  const exchange = (fresh) => {
    const open = new Set([...document.querySelectorAll("details[open]")].map((one) => one.id));
    // What has no id of its own is the summary of what has one.
    const active = document.activeElement;
    const focused = active && (active.id || (active.parentElement && active.parentElement.id));
    for (const id of parts) {
      const old = document.getElementById(id);
      const next = fresh.getElementById(id);
      if (old && next && !old.isEqualNode(next)) old.replaceWith(document.adoptNode(next));
    }
    for (const id of open) {
      const one = document.getElementById(id);
      if (one) one.open = true;
    }
    if (focused && document.activeElement === document.body) {
      const one = document.getElementById(focused);
      const place = one && one.tagName === "DETAILS" ? one.querySelector("summary") : one;
      if (place) place.focus({ preventScroll: true });
    }
    filter();
  };

  const look = async () => {
    let pause = 2000;
    try {
      if (!document.hidden) {
        const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
        const text = await answer.text();
        if (!answer.ok) throw new Error(text);
        exchange(new DOMParser().parseFromString(text, "text/html"));
      }
    } catch (error) {
      document.getElementById("live").textContent = "no answer: " + error.message;
      pause = 5000;
    }
    setTimeout(look, pause);
  };

  field.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== field) {
      event.preventDefault();
      field.focus();
    } else if (event.key === "Escape" && event.target === field) {
      field.value = "";
      filter();
      field.blur();
    }
  });
  setTimeout(look, 1000);
})();
