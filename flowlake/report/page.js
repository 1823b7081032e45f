"use strict";
(() => {
  const root = document.documentElement;

  // Light and dark: the system's choice, until a reader chooses. Charts are coloured by the same
  // variables of CSS, so they follow.
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (value) => {
    try {
      if (value) localStorage.setItem("flowlake-theme", value);
      return localStorage.getItem("flowlake-theme");
    } catch {
      return null; // a page from a folder may have no storage
    }
  };
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => {
    theme.textContent = dark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`);
  };
  const before = remembered();
  if (before === "light" || before === "dark") root.dataset.theme = before;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remembered(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();

  // Tables: sorted by a column's button, searched by the field above them.
  const words = new Intl.Collator("en", { numeric: true });
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.textContent || null;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b);

  const sort = (table, head) => {
    const body = table.tBodies[0];
    const number = head.classList.contains("number");
    const now = head.getAttribute("aria-sort");
    const down = now === "none" ? number : now === "ascending";
    for (const each of table.tHead.rows[0].cells) each.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // blanks last, both ways
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };

  const search = (article, text) => {
    const wanted = text.trim().toLowerCase();
    let shown = 0;
    const rows = article.querySelectorAll("tbody tr");
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    const count = article.querySelector(".count");
    count.textContent = wanted ? `${shown} of ${rows.length} rows` : count.dataset.all;
  };

  for (const article of document.querySelectorAll("article")) {
    const field = article.querySelector("input[type=search]");
    if (field) field.addEventListener("input", () => search(article, field.value));
    for (const head of article.querySelectorAll("th")) {
      head.firstElementChild.addEventListener("click", () => sort(head.closest("table"), head));
    }
    const copy = article.querySelector(".same button");
    if (copy) {
      copy.addEventListener("click", async () => {
        const code = article.querySelector(".same code");
        try {
          await navigator.clipboard.writeText(code.textContent);
          copy.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code); // no clipboard: leave it selected
          copy.textContent = "Selected";
        }
        setTimeout(() => (copy.textContent = "Copy"), 1500);
      });
    }
  }

  // Charts: one after the other, so that the page answers in between.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const tell = (_, event, __, value) => {
    tip.hidden = value === null || value === undefined || value === "";
    if (tip.hidden) return;
    tip.textContent = value;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 8))}px`;
    const above = event.clientY - height - 10;
    tip.style.top = `${above > 4 ? above : event.clientY + 16}px`;
  };

  const config = (width) => ({
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    padding: { left: 0, top: 4, right: 4, bottom: 4 },
    view: { stroke: null },
    axis: {
      labelColor: "var(--muted)",
      titleColor: "var(--muted)",
      titleFontWeight: "normal",
      titleFontSize: 12,
      labelFontSize: 12,
      gridColor: "var(--line)",
      domainColor: "var(--line)",
      tickColor: "var(--line)",
    },
    axisBand: {
      labelColor: "var(--text)",
      domain: false,
      ticks: false,
      grid: false,
      labelPadding: 8,
      labelLimit: Math.max(100, Math.min(330, 0.45 * width)),
    },
    title: {
      color: "var(--muted)",
      fontSize: 12,
      fontWeight: "normal",
      anchor: "start",
      frame: "group",
      offset: 6,
    },
    legend: { labelColor: "var(--text)", labelFontSize: 12, symbolType: "square", offset: 6 },
    text: { color: "var(--muted)", fontSize: 12 },
  });

  const draw = async () => {
    const specs = JSON.parse(document.getElementById("charts").textContent);
    for (const [id, spec] of Object.entries(specs)) {
      const place = document.getElementById(id);
      try {
        const { view } = await vegaEmbed(place, spec, {
          mode: "vega-lite",
          renderer: "svg",
          actions: false,
          ast: true, // the policy of this page forbids eval
          defaultStyle: false,
          tooltip: tell,
          config: config(place.clientWidth),
        });
        const article = place.closest("article");
        view.addEventListener("click", (_, item) => {
          const field = article.querySelector("input[type=search]");
          if (!field || !item || !item.datum || !item.datum.find) return;
          field.value = field.value === item.datum.find ? "" : item.datum.find;
          search(article, field.value);
        });
      } catch (error) {
        place.textContent = `This chart could not be drawn: ${error.message}`;
      }
      await new Promise((next) => setTimeout(next));
    }
    root.dataset.drawn = "all";
  };
  draw();

  // Contents: closed on a small screen, and marked where the reader is.
  const contents = document.getElementById("contents");
  const small = matchMedia("(max-width: 62rem)");
  const fold = () => (contents.open = !small.matches);
  small.addEventListener("change", fold);
  fold();
  contents.addEventListener("click", (event) => {
    if (small.matches && event.target.closest("a")) contents.open = false;
  });
  const links = new Map(
    [...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]),
  );
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        for (const link of links.values()) link.classList.toggle("here", link === links.get(target.id));
      }
    },
    { rootMargin: "-10% 0px -80% 0px" },
  );
  for (const article of document.querySelectorAll("article")) watch.observe(article);
})();
