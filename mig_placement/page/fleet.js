"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("filters");
  const nodes = [...document.querySelectorAll(".node")].map((section) => ({
    section,
    gpus: [...section.querySelectorAll(".gpu")].map((gpu) => ({
      gpu,
      text: (section.querySelector("h2").textContent + " " +
             gpu.textContent).toLowerCase(),
      classes: (gpu.dataset.classes || "").split(" "),
    })),
  }));
  const count = nodes.reduce((sum, node) => sum + node.gpus.length, 0);

  const fits = (one, words, gate, name, layout) =>
    words.every((word) => one.text.includes(word)) &&
    (!gate || one.gpu.dataset.gate === gate) &&
    (!name || one.classes.includes(name)) &&
    (!layout || one.gpu.dataset.layout === layout);

  const show = () => {
    const words = byId("search").value.toLowerCase().split(/\s+/);
    const [gate, name, layout] =
      ["gate", "class", "layout"].map((id) => byId(id).value);
    let shown = 0;
    for (const node of nodes) {
      let here = 0;
      for (const one of node.gpus) {
        const fit = fits(one, words, gate, name, layout);
        one.gpu.hidden = !fit;
        here += fit;
      }
      node.section.hidden = !here;
      shown += here;
    }
    byId("shown").textContent = `${shown} of ${count} GPUs shown`;
  };

  let pending = 0;
  form.addEventListener("input", () => {
    clearTimeout(pending);
    pending = setTimeout(show, 120);
  });
  form.addEventListener("reset", () => setTimeout(show, 0));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
