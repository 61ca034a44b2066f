"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function colours(width) {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    const text = read("--ink"), quiet = read("--quiet"), line = read("--line");
    return {
      background: "transparent",
      font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
      view: { stroke: null },
      rule: { color: quiet },
      text: { color: text, fontSize: 12 },
      legend: { labelColor: text, labelFontSize: 12 },
      header: { labelColor: text, labelFontSize: 12, labelFontWeight: 600 },
      axis: {
        labelColor: text, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 10,
        labelLimit: Math.min(260, 0.38 * width)
      },
      axisY: { grid: false, ticks: false, domain: false, labelPadding: 8 }
    };
  }

  function draw(figure) {
    const specification = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const place = figure.querySelector(".plot");
    return vegaEmbed(place, specification, {
      mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true,
      config: colours(place.clientWidth), tooltip: { disableDefaultStyle: true }
    }).then(
      function () { figure.dataset.state = "drawn"; },
      function (error) {
        figure.dataset.state = "failed";
        figure.querySelector("details").open = true;
        throw error;
      }
    );
  }

  function drawAll() { document.querySelectorAll("figure[data-state]").forEach(draw); }

  drawAll();
  dark.addEventListener("change", drawAll);
})();
