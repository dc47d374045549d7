// Reads values under the pointer (or with the arrow keys) from the data beside each chart. The page works without it.
(() => {
  const tip = document.getElementById("tip");
  const NS = "http://www.w3.org/2000/svg";
  const make = (parent, name, attributes) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    parent.appendChild(node);
    return node;
  };
  const write = (value, d, unit) =>
    value.toLocaleString("en-US", { minimumFractionDigits: d, maximumFractionDigits: d }).replace("-", "\u2212") + unit;
  const place = (x, y) => {
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? Math.max(4, x - 16 - box.width) : x + 16;
    tip.style.left = left + "px";
    tip.style.top = Math.min(Math.max(4, y - box.height / 2), innerHeight - box.height - 4) + "px";
  };
  const row = (table, name, text, cls) => {
    const line = table.insertRow();
    line.insertCell().textContent = name;
    const cell = line.insertCell();
    cell.textContent = text;
    cell.className = cls;
  };

  for (const svg of document.querySelectorAll("svg[data-hover]")) {
    let data = null, layer = null, at = -1;
    const g = JSON.parse(svg.dataset.geometry);
    const px = (v) => g.x[2] + ((v - g.x[0]) / (g.x[1] - g.x[0])) * (g.x[3] - g.x[2]);
    const py = (v) => g.y[2] + ((v - g.y[0]) / (g.y[1] - g.y[0])) * (g.y[3] - g.y[2]);
    const where = (k) => px(g.i ? k : data.t[k]);
    const show = (k, clientX, clientY) => {
      at = k;
      if (layer) layer.remove();
      layer = make(svg, "g", { "pointer-events": "none" });
      const x = where(k);
      make(layer, "line", { class: "cross", x1: x, x2: x, y1: g.y[2], y2: g.y[3] });
      tip.replaceChildren();
      const title = tip.appendChild(document.createElement("b"));
      const stamp = new Date(data.t[k] * 864e5).toISOString();
      title.textContent = data.h ? stamp.slice(0, 16).replace("T", " ") + " UTC" : stamp.slice(0, 10);
      const table = tip.appendChild(document.createElement("table"));
      for (const s of data.s) {
        if (s.y[k] === null) continue;
        make(layer, "circle", { class: "spot " + s.c, cx: x, cy: py(s.y[k]), r: 4 });
        row(table, s.n, write(s.y[k], data.d, data.u), s.c);
      }
      for (const b of data.b)
        if (b.l[k] !== null) row(table, b.n, write(b.l[k], data.d, "") + " \u2013 " + write(b.h[k], data.d, data.u), "");
      if (clientX === undefined) {
        const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
        clientX = box.left + x * scale;
        clientY = box.top + box.height / 2;
      }
      place(clientX, clientY);
    };
    const hide = () => { if (layer) layer.remove(); layer = null; tip.style.display = "none"; };
    const read = () => { data = data || JSON.parse(document.getElementById(svg.dataset.hover).textContent); };
    const nearest = (x) => {
      let a = 0, b = data.t.length - 1;
      while (b - a > 1) { const m = (a + b) >> 1; if (where(m) < x) a = m; else b = m; }
      return x - where(a) < where(b) - x ? a : b;
    };
    svg.addEventListener("pointermove", (event) => {
      read();
      const box = svg.getBoundingClientRect();
      show(nearest(((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width), event.clientX, event.clientY);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
      if (event.key === "Escape") return hide();
      if (!move && event.key !== "Home" && event.key !== "End") return;
      event.preventDefault();
      read();
      const last = data.t.length - 1;
      const from = at < 0 ? last : at;
      show(event.key === "Home" ? 0 : event.key === "End" ? last : Math.min(last, Math.max(0, from + move)));
    });
  }

  for (const node of document.querySelectorAll("[data-tip]")) {
    const show = (x, y) => { tip.textContent = node.dataset.tip; place(x, y); };
    const hide = () => { tip.style.display = "none"; };
    node.addEventListener("pointermove", (event) => { event.stopPropagation(); show(event.clientX, event.clientY); });
    node.addEventListener("pointerleave", hide);
    node.addEventListener("focus", () => { const b = node.getBoundingClientRect(); show(b.right, b.top); });
    node.addEventListener("blur", hide);
  }

  for (const select of document.querySelectorAll("select[data-panels]")) {
    select.hidden = false;
    select.addEventListener("change", () => {
      for (const panel of document.querySelectorAll(`[data-panel^="${select.dataset.panels}:"]`))
        panel.hidden = panel.dataset.panel !== `${select.dataset.panels}:${select.value}`;
    });
  }
})();
