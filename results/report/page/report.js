"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false };

  function draw(element, figure) {
    const ink = getComputedStyle(document.body).color;
    const layout = { ...figure.layout, font: { ...figure.layout.font, color: ink } };
    return Plotly.react(element, figure.data, layout, config);
  }
  function drawAll() {
    for (const [name, figure] of Object.entries(data.figures)) {
      const element = document.getElementById(name);
      draw(element, figure).catch((error) => {
        element.textContent = "This plot cannot be drawn: " + error;
      });
    }
  }
  drawAll();
  dark.addEventListener("change", drawAll);

  // The leaderboard. Columns of a row: rank, name, formula, fitness, spread, seeds, difference, size, birth, front,
  // verdict, MathML, the two ends of the interval of the difference, and true if it is over embeddings.
  const page = 25;
  const body = document.querySelector("#board tbody");
  const filter = document.getElementById("filter");
  const frontOnly = document.getElementById("front-only");
  const more = document.getElementById("more");
  const cells = [
    (row) => row[0],
    (row) => (row[1] ? row[1] + ": " : "") + row[2],
    (row) => row[3],
    (row) => row[4],
    (row) => row[5],
    (row) => row[6],
    (row) => row[7],
    (row) => row[8],
    (row) => (row[9] ? "yes" : ""),
    (row) => row[10],
  ];
  const digits = { 2: 4, 3: 4 };
  let column = 0, descending = false, limit = page;

  function compare(one, other) {
    const a = cells[column](one), b = cells[column](other);
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  }
  function text(row, place) {
    const value = cells[place](row);
    if (value === null) return "";
    if (place in digits) return value.toFixed(digits[place]);
    if (place !== 5) return String(value);
    const half = row[13] === null ? "" : " ±" + (row[13] - value).toFixed(4);
    return (value >= 0 ? "+" : "") + value.toFixed(4) + half;
  }
  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const found = data.rows.filter(
      (row) => (!frontOnly.checked || row[9]) && cells[1](row).toLowerCase().includes(wanted)
    );
    found.sort(compare);
    body.replaceChildren(
      ...found.slice(0, limit).map((row) => {
        const line = document.createElement("tr");
        cells.forEach((_, place) => {
          const cell = line.insertCell();
          if (place === 1) {
            const code = document.createElement("code");
            code.textContent = text(row, place);
            cell.append(code);
            const typeset = row[11] && new DOMParser().parseFromString(row[11], "application/xml").documentElement;
            if (typeset && typeset.localName === "math") cell.append(typeset);
            if (row[14]) cell.append(" over embeddings");
          } else {
            cell.textContent = text(row, place);
          }
        });
        return line;
      })
    );
    const shown = Math.min(limit, found.length);
    document.getElementById("shown").textContent = `${shown} of ${found.length} losses`;
    more.hidden = shown === found.length;
  }
  document.querySelectorAll("#board th button").forEach((button) => {
    button.addEventListener("click", () => {
      const chosen = Number(button.dataset.column);
      descending = chosen === column ? !descending : false;
      column = chosen;
      document.querySelectorAll("#board th").forEach((head, place) => {
        head.setAttribute("aria-sort", place !== column ? "none" : descending ? "descending" : "ascending");
      });
      show();
    });
  });
  filter.addEventListener("input", () => { limit = page; show(); });
  frontOnly.addEventListener("change", () => { limit = page; show(); });
  more.addEventListener("click", () => { limit *= 4; show(); });
  show();
})();
