"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(hover: none)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };

  // Plots. Those in a closed fold are drawn when it is opened: before that they have no width.
  const drawn = new Set();

  function draw(element, figure) {
    const ink = getComputedStyle(document.body).color, narrow = innerWidth < 600;
    const font = { ...figure.layout.font, color: ink, size: narrow ? 11 : figure.layout.font.size };
    const layout = { ...figure.layout, font, dragmode: touch ? false : "zoom" };
    // Numbers in the cells of a matrix have the color of text: its cells are transparent where it counts none.
    const traces = figure.data.map((trace) =>
      trace.type === "heatmap" && trace.texttemplate ? { ...trace, textfont: { color: ink } } : trace
    );
    return Plotly.react(element, traces, layout, config);
  }
  function drawAll(again) {
    for (const [name, figure] of Object.entries(data.figures)) {
      const element = document.getElementById(name);
      if (!element || element.closest("details:not([open])") || (drawn.has(name) && !again)) continue;
      drawn.add(name);
      draw(element, figure).catch((error) => {
        element.textContent = "This plot cannot be drawn: " + error;
      });
    }
  }
  drawAll(false);
  dark.addEventListener("change", () => drawAll(true));
  document.querySelectorAll("details").forEach((fold) => {
    fold.addEventListener("toggle", () => { if (fold.open) drawAll(false); });
  });

  // The leaderboard. Columns of a row: rank, name, formula, fitness, spread, seeds, difference, size, birth, front,
  // verdict, MathML, upper end of the interval of the difference, and true if it is over embeddings.
  const page = 12, longest = 160;
  const body = document.querySelector("#board tbody");
  const filter = document.getElementById("filter");
  const frontOnly = document.getElementById("front-only");
  const more = document.getElementById("more");
  const heads = [...document.querySelectorAll("#board th")];
  const values = {
    rank: (row) => row[0],
    loss: (row) => (row[1] ? row[1] + ": " : "") + row[2],
    fitness: (row) => row[3],
    difference: (row) => row[6],
    seeds: (row) => row[5],
    size: (row) => row[7],
    born: (row) => row[8],
    verdict: (row) => row[10],
  };
  let key = "rank", descending = false, limit = page;

  function compare(one, other) {
    const a = values[key](one), b = values[key](other);
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  }
  function put(cell, tag, text, name) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    cell.append(element);
    return element;
  }
  function signed(value) {
    return (value >= 0 ? "+" : "") + value.toFixed(4);
  }
  const fill = {
    rank(cell, row) { cell.textContent = (row[9] ? "*" : "") + row[0]; },
    loss(cell, row) {
      const typeset = row[11] && new DOMParser().parseFromString(row[11], "application/xml").documentElement;
      if (typeset && typeset.localName === "math") {
        flatten(typeset);
        put(cell, "div", "", "typeset").append(typeset);
      }
      if (row[13]) put(cell, "abbr", "e", "").title = "takes embeddings, and owns the weights of the last layer";
      if (row[13]) cell.append(" ");
      const text = values.loss(row);
      const code = put(cell, "code", text.length > longest ? text.slice(0, longest - 50) + " … " + text.slice(-47) : text, "");
      if (text.length > longest) code.title = text;
    },
    fitness(cell, row) {
      cell.textContent = row[3].toFixed(4);
      if (row[4] !== null) put(cell, "span", " ±" + row[4].toFixed(4), "spread");
    },
    difference(cell, row) {
      if (row[6] === null) return;
      cell.textContent = signed(row[6]);
      if (row[12] !== null) put(cell, "span", " ±" + (row[12] - row[6]).toFixed(4), "spread");
    },
  };
  // Parentheses around a fraction are as high as it. Others keep the height of a line, which browsers exaggerate.
  function flatten(math) {
    for (const group of math.querySelectorAll("mrow")) {
      if (group.querySelector("mfrac")) continue;
      for (const mark of group.children) if (mark.localName === "mo") mark.setAttribute("stretchy", "false");
    }
  }
  document.querySelectorAll(".formula math").forEach(flatten);
  function line(row) {
    const element = document.createElement("tr");
    element.className = row[0] === data.best ? "best" : row[1] === "cross_entropy" ? "baseline" : "";
    for (const head of heads) {
      const cell = element.insertCell(), name = head.dataset.key;
      cell.className = head.className;
      if (fill[name]) fill[name](cell, row);
      else cell.textContent = values[name](row) ?? "";
    }
    return element;
  }
  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const found = data.rows.filter(
      (row) => (!frontOnly.checked || row[9]) && values.loss(row).toLowerCase().includes(wanted)
    );
    found.sort(compare);
    // Cross-entropy stands below the others if it is not among the first.
    const shown = found.filter((row, place) => place < limit || row[1] === "cross_entropy");
    body.replaceChildren(...shown.map(line));
    document.getElementById("shown").textContent = `${shown.length} of ${found.length.toLocaleString("en")} losses`;
    more.hidden = shown.length === found.length;
    fit();
  }
  // A typeset formula that is too wide is made smaller, or left out: its text below it wraps.
  function fit() {
    document.querySelectorAll("#board .typeset").forEach((box) => {
      box.hidden = false;
      box.hidden = box.scrollWidth > box.clientWidth + 1;
    });
    document.querySelectorAll(".formula").forEach((box) => {
      box.hidden = false;
      box.style.fontSize = "";
      const share = box.clientWidth / box.scrollWidth;
      if (share < 1) box.style.fontSize = Math.max(0.75, 1.1 * share) + "rem";
      box.hidden = box.scrollWidth > box.clientWidth + 1;
    });
  }
  heads.forEach((head) => {
    head.firstElementChild.addEventListener("click", () => {
      descending = head.dataset.key === key ? !descending : false;
      key = head.dataset.key;
      heads.forEach((other) => {
        other.setAttribute("aria-sort", other !== head ? "none" : descending ? "descending" : "ascending");
      });
      show();
    });
  });
  filter.addEventListener("input", () => { limit = page; show(); });
  frontOnly.addEventListener("change", () => { limit = page; show(); });
  more.addEventListener("click", () => { limit *= 4; show(); });
  addEventListener("resize", fit);
  show();
})();
