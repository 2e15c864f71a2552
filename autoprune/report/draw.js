(function () {
  "use strict";
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const touch = window.matchMedia("(pointer: coarse)").matches;

  function theme(layout) {
    const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), zeroline: false };
    const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    return {
      ...Object.fromEntries(axes.map((key) => [key, axis])),
      font: { color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
    };
  }

  function merge(into, from) {
    for (const key of Object.keys(from)) {
      if (from[key] && typeof from[key] === "object") into[key] = merge(into[key] || {}, from[key]);
      else into[key] = from[key];
    }
    return into;
  }

  for (const box of document.querySelectorAll("[data-figure]")) {
    const figure = JSON.parse(document.getElementById(box.dataset.figure).textContent);
    merge(figure.layout, theme(figure.layout));
    if (!touch) figure.layout.dragmode = "zoom";
    box.textContent = "";
    Plotly.newPlot(box, figure.data, figure.layout, {
      responsive: true,
      displayModeBar: false,
      displaylogo: false,
      showSendToCloud: false,
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      merge(figure.layout, theme(figure.layout));
      Plotly.react(box, figure.data, figure.layout);
    });
  }
})();
