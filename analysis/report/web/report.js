"use strict";
(async () => {
  // Data and Plotly are packed.
  async function unpacked(id) {
    const packed = document.getElementById(id).textContent.trim();
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    return packed && new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const groups = JSON.parse(await unpacked("data"));
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  const configuration = {
    responsive: true, displaylogo: false, displayModeBar: innerWidth > 700 && "hover",
    // What these figures need of the tools: zooming and dragging, turning, the whole again, a picture.
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "tableRotation", "resetCameraLastSave3d"],
  };

  async function unpack() {
    const text = await unpacked("plotly");
    if (!text) return false;
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    return true;
  }

  const layout = (more) => ({
    paper_bgcolor: style("--panel"), plot_bgcolor: style("--panel"), font: { color: style("--ink"), size: 13 },
    // Tools stand above, the legend below: neither covers the other, nor a curve.
    margin: { l: 60, r: 16, t: 34, b: 84 }, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, ...more,
  });
  // Counts of a formula as subscripts, as in the tables.
  const formula = (name) => /^(?:[A-Z][a-z]?\d*)+(?:\+V[A-Z][a-z]?)*$/.test(name) ? safe(name.replace(/\d+/g, (n) => [...n].map((d) => "₀₁₂₃₄₅₆₇₈₉"[d]).join(""))) : safe(name);
  const axis = (title, more) => ({ title: { text: title }, gridcolor: style("--line"), zerolinecolor: style("--soft"), ...more });
  const safe = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  // Error bars of one kind; none where no bar is known.
  function errors(known, kind, color, thickness) {
    const bars = known.map((one) => (one.adsorption_energy_uncertainty_ev || {})[kind] ?? null);
    return bars.some((bar) => bar !== null) ? { error_y: { type: "data", array: bars, color, thickness, width: 4 + 4 / thickness } } : {};
  }

  function adsorption(group) {
    const known = group.objects.filter((one) => one.adsorption_energy_ev !== null);
    const mock = group.physical ? "" : " (mock)";
    const traces = [{
      // A bar or two are no wider than bars of a full figure.
      type: "bar", name: "this work" + mock, ...(known.length < 4 ? { width: 0.2 * known.length } : {}), x: known.map((one) => formula(one.model)), y: known.map((one) => one.adsorption_energy_ev),
      text: known.map((one) => one.adsorption_energy_ev.toFixed(2)), textposition: "outside", cliponaxis: false,
      ...errors(known, "numerical_ev", style("--ink"), 2),
      customdata: known.map((one) => safe(one.site)), hovertemplate: "%{x}<br>%{customdata}<br>%{y:.3f} eV<extra></extra>",
      marker: { color: group.physical ? colours[0] : style("--panel"), line: { color: colours[0], width: 2 }, pattern: group.physical ? {} : { shape: "/", fgcolor: colours[0] } },
    }];
    const spread = known.filter((one) => one.adsorption_energy_uncertainty_ev && one.adsorption_energy_uncertainty_ev.functional_ev !== null);
    if (spread.length) traces.push({
      type: "scatter", mode: "markers", name: "spread of functionals", marker: { size: 1, color: style("--soft") }, hoverinfo: "skip",
      x: spread.map((one) => formula(one.model)), y: spread.map((one) => one.adsorption_energy_ev), ...errors(spread, "functional_ev", style("--soft"), 1),
    });
    // Beside mock values there is nothing to compare with.
    const paper = group.physical ? group.objects.filter((one) => one.paper_adsorption_energy_ev !== null) : [];
    if (paper.length) traces.push({
      type: "scatter", mode: "markers", name: "Lei et al. 2023", x: paper.map((one) => formula(one.model)), y: paper.map((one) => one.paper_adsorption_energy_ev),
      marker: { color: colours[1], symbol: "diamond", size: 13, line: { color: style("--paper"), width: 1.5 } }, hovertemplate: "%{x}<br>paper %{y:.2f} eV<extra></extra>",
    });
    return [traces, layout({ yaxis: axis("ΔE / eV" + mock), xaxis: axis("", { side: "top", automargin: true, tickfont: { size: innerWidth < 500 ? 9 : 13 } }), showlegend: true, margin: { l: 60, r: 16, t: 34, b: 40 } })];
  }

  function dos(group, host, zero) {
    const data = host.panels.dos;
    zero = zero in data.zeros ? zero : Object.keys(data.zeros)[0];
    const x = data.energies.map((energy) => energy - data.zeros[zero]);
    const totals = Object.entries(data.curves).map(([label, spins]) => [label, Math.max(...spins.flat())]);
    const drawn = totals.filter(([label]) => label !== "total").sort((a, b) => b[1] - a[1]).slice(0, 6).map(([label]) => label);
    // Few at first: d of the metal, p of the chalcogens; the others by a click on their names.
    const metal = drawn.find((label) => label.endsWith("-d")) ?? "-";
    const first = drawn.filter((label) => label === metal || (label.endsWith("-p") && label.split("-")[0] !== metal.split("-")[0])).slice(0, 3);
    const seen = (label) => (label === "total" || first.length === 0 || first.includes(label) ? true : "legendonly");
    const traces = [];
    for (const label of ["total", ...drawn]) data.curves[label].forEach((curve, spin) => traces.push({
      type: "scatter", mode: "lines", name: safe(label.replace("-", " ")), legendgroup: label, showlegend: spin === 0, visible: seen(label), x, y: spin ? curve.map((value) => -value) : curve,
      line: { width: label === "total" ? 1.6 : 1.2, color: label === "total" ? style("--ink") : colours[drawn.indexOf(label)] },
      hovertemplate: `${safe(label)} %{x:.3f} eV: %{y:.2f}<extra></extra>`,
    }));
    const names = { VBM: "E − E<sub>VBM</sub> / eV", E_F: "E − E<sub>F</sub> / eV", vacuum: "E − E<sub>vacuum, top</sub> / eV" };
    const mock = group.physical ? "" : " (mock)";
    const middle = (data.zeros.VBM ?? data.zeros.E_F) - data.zeros[zero];
    const fermi = data.zeros.E_F - data.zeros[zero];
    const shapes = [{ type: "line", x0: fermi, x1: fermi, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: style("--soft") } }];
    return [traces, layout({
      xaxis: axis(names[zero], { range: [middle - 6, middle + 4] }), yaxis: axis("states / (eV cell)" + mock), shapes, showlegend: true,
    })];
  }

  function bands(group, host) {
    const data = host.panels.bands;
    const traces = data.spins.map((levels, spin) => ({
      type: "scatter", mode: "lines", name: spin ? "spin down" : "spin up", showlegend: data.spins.length > 1, connectgaps: false,
      x: levels.flatMap(() => [...data.distance, null]), y: levels.flatMap((level) => [...level, null]),
      line: { color: colours[spin], width: Object.keys(data.characters ?? {}).length ? 0.8 : 1.3, dash: spin ? "dot" : "solid" }, hovertemplate: "%{y:.3f} eV<extra></extra>",
    }));
    // Each state as thick as its weight on a group of atoms' states; the lines stay thin under them.
    Object.entries(data.characters ?? {}).forEach(([label, spins], index) => {
      const points = spins.flatMap((bands, spin) => bands.flatMap((weights, band) => weights.map((weight, k) => [data.distance[k], data.spins[spin][band][k], weight])))
        .filter(([, , weight]) => weight > 0.1);
      traces.push({
        type: "scatter", mode: "markers", name: safe(label), x: points.map(([x]) => x), y: points.map(([, y]) => y), hoverinfo: "skip",
        marker: { color: colours[(index + 2) % colours.length], opacity: 0.5, size: points.map(([, , weight]) => 11 * Math.sqrt(Math.min(weight, 1))), line: { width: 0 } },
      });
    });
    const name = { VBM: "E − E<sub>VBM</sub> / eV", E_F: "E − E<sub>F</sub> / eV" }[data.zero];
    return [traces, layout({
      yaxis: axis(name + (group.physical ? "" : " (mock)"), { range: [-4, 4] }),
      xaxis: axis("", { tickvals: data.ticks.map(([at]) => at), ticktext: data.ticks.map(([, label]) => label), range: [0, data.distance.at(-1)] }),
    })];
  }

  function atoms(group, host) {
    const data = host.panels.atoms;
    const at = (axis) => (index) => data.positions[index][axis];
    const traces = [];
    const lines = { x: [], y: [], z: [] };
    for (const [i, j] of data.bonds) ["x", "y", "z"].forEach((key, axis) => lines[key].push(data.positions[i][axis], data.positions[j][axis], null));
    traces.push({ type: "scatter3d", mode: "lines", ...lines, line: { color: style("--soft"), width: 4 }, hoverinfo: "skip", showlegend: false });
    for (const symbol of Object.keys(data.colours)) {
      const chosen = data.symbols.map((_, index) => index).filter((index) => data.symbols[index] === symbol);
      traces.push({
        type: "scatter3d", mode: "markers", name: symbol, x: chosen.map(at(0)), y: chosen.map(at(1)), z: chosen.map(at(2)),
        marker: { size: 9 * data.radii[symbol], color: data.colours[symbol], line: { color: "#333333", width: 1 } },
        hovertemplate: `${symbol} (%{x:.2f}, %{y:.2f}, %{z:.2f}) Å<extra></extra>`,
      });
    }
    for (const [name, word, colour] of [["gain", "gained", "#E69F00"], ["loss", "lost", "#56B4E9"]]) {
      const surface = data.isosurfaces?.[name];
      if (surface) traces.push({
        type: "mesh3d", name: `electrons ${word}, ${data.isosurfaces.value} e/Å³`, showlegend: true, opacity: 0.55, color: colour, hoverinfo: "skip",
        x: surface.vertices.map((p) => p[0]), y: surface.vertices.map((p) => p[1]), z: surface.vertices.map((p) => p[2]),
        i: surface.faces.map((f) => f[0]), j: surface.faces.map((f) => f[1]), k: surface.faces.map((f) => f[2]),
      });
    }
    // To scale, and as large as the place allows.
    const spans = [0, 1, 2].map((axis) => Math.max(...data.positions.map((p) => p[axis])) - Math.min(...data.positions.map((p) => p[axis])) + 2);
    const [x, y, z] = spans.map((span) => (1.75 * span) / Math.max(...spans));
    const bare = (axis) => ({ visible: false, range: [Math.min(...data.positions.map((p) => p[axis])) - 1, Math.max(...data.positions.map((p) => p[axis])) + 1] });
    return [traces, layout({
      margin: { l: 0, r: 0, t: 30, b: 60 }, dragmode: "orbit", showlegend: true,
      scene: { xaxis: bare(0), yaxis: bare(1), zaxis: bare(2), aspectmode: "manual", aspectratio: { x, y, z }, camera: { projection: { type: "orthographic" }, eye: { x: 0.4, y: -1.25, z: 0.55 } } },
    })];
  }

  function map(group, host) {
    const data = host.panels.map;
    const traces = Object.keys(data.colours).map((symbol) => {
      const chosen = data.symbols.map((_, index) => index).filter((index) => data.symbols[index] === symbol);
      return {
        type: "scatter", mode: "markers", name: symbol, x: chosen.map((i) => data.positions[i][0]), y: chosen.map((i) => data.positions[i][1]), hoverinfo: "skip",
        marker: { size: 14 * data.radii[symbol], color: data.colours[symbol], opacity: 0.45, line: { color: "#333333", width: 1 } },
      };
    });
    const done = data.sites.filter((site) => site.energy !== null);
    const mock = group.physical ? "" : " (mock)";
    const several = new Set(done.map((site) => site.energy)).size > 1;
    traces.push({
      type: "scatter", mode: "markers+text", name: "sites", x: done.map((site) => site.x), y: done.map((site) => site.y),
      text: done.map((site) => site.energy.toFixed(2)), textposition: done.map((site) => (site.face === "bottom" ? "bottom center" : "top center")), textfont: { color: style("--ink") },
      customdata: done.map((site) => `${safe(site.site)}, ended at ${safe(site.end ?? site.site)}`),
      hovertemplate: "%{customdata}<br>%{text} eV<extra></extra>", showlegend: false,
      marker: {
        size: 15, symbol: done.map((site) => (site.face === "bottom" ? "triangle-down" : "triangle-up")), line: { color: style("--ink"), width: 1.5 },
        color: done.map((site) => site.energy), colorscale: "Cividis", showscale: several, colorbar: { title: { text: "ΔE / eV" + mock, side: "right" }, thickness: 12, len: 0.9 },
      },
    });
    Object.entries(data.tracks ?? {}).forEach(([name, line], index) => traces.push({
      type: "scatter", mode: "lines", name: safe(name), x: line.map((p) => p[0]), y: line.map((p) => p[1]),
      line: { color: colours[index % colours.length], width: 3 }, hovertemplate: `${safe(name)}<extra></extra>`,
    }));
    const [a, b] = data.cell;
    const corners = [[0, 0], [a[0], a[1]], [a[0] + b[0], a[1] + b[1]], [b[0], b[1]], [0, 0]];
    traces.push({ type: "scatter", mode: "lines", x: corners.map((p) => p[0]), y: corners.map((p) => p[1]), line: { color: style("--soft"), width: 1 }, hoverinfo: "skip", showlegend: false });
    return [traces, layout({
      xaxis: axis("x / Å"), yaxis: axis("y / Å", { scaleanchor: "x" }),
    })];
  }

  function profile(group, host) {
    const data = host.panels.profile;
    const mark = ([symbol, z]) => ({ x: z, y: 1, yref: "paper", yanchor: "bottom", text: symbol, showarrow: false, font: { size: 11 } });
    const line = ([, z]) => ({ type: "line", x0: z, x1: z, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: style("--soft") } });
    // One zero for both axes: each as far above it as below.
    const around = (values) => { const most = 1.1 * Math.max(...values.map(Math.abs)) || 1; return [-most, most]; };
    return [[
      { type: "scatter", mode: "lines", name: "Δρ", x: data.heights, y: data.planes, line: { color: colours[0] }, hovertemplate: "%{y:.4f} e/Å at %{x:.2f} Å<extra></extra>" },
      { type: "scatter", mode: "lines", name: "gained below", x: data.heights, y: data.below, yaxis: "y2", line: { color: colours[1], dash: "dash" }, hovertemplate: "%{y:.3f} e below %{x:.2f} Å<extra></extra>" },
    ], layout({
      xaxis: axis("z / Å", { range: [Math.min(...data.layers.map(([, z]) => z)) - 3, Math.max(...data.layers.map(([, z]) => z)) + 3] }),
      yaxis: axis("Δρ / (e/Å)", { range: around(data.planes) }),
      yaxis2: axis("gained below / e", { overlaying: "y", side: "right", showgrid: false, zeroline: false, automargin: true, tickmode: "auto", nticks: 6, tickformat: ".2f", range: around(data.below) }),
      margin: { l: 60, r: 72, t: 54, b: 84 }, annotations: data.layers.map(mark), shapes: data.layers.map(line),
    })];
  }

  // Plain curves: what a quantity draws that has no script of its own.
  function curves(group, data) {
    const mock = group.physical ? "" : " (mock)";
    return [data.curves.flatMap((curve, index) => {
      const color = colours[index % colours.length], name = safe(curve.name), type = "scatter";
      const line = { type, mode: curve.mode ?? "lines+markers", name, legendgroup: name, x: curve.x, y: curve.y, line: { color } };
      return curve.points ? [line, { type, mode: "markers", name, legendgroup: name, showlegend: false, ...curve.points, marker: { color, size: 8 } }] : [line];
    }), layout({ xaxis: axis(safe(data.x)), yaxis: axis(safe(data.y) + mock), showlegend: true })];
  }

  function slice(group, host) {
    const data = host.panels.slice;
    const most = Math.max(...data.values.flat().map(Math.abs)) / 2 || 1;
    return [[{
      type: "heatmap", x: data.along, y: data.heights, z: data.values, zmin: -most, zmax: most, zsmooth: "best",
      colorscale: [[0, "#56B4E9"], [0.5, style("--panel")], [1, "#E69F00"]], colorbar: { title: { text: "Δρ / (e/Å³)", side: "right" }, thickness: 12 },
      hovertemplate: "%{z:.4f} e/Å³<extra></extra>",
    }], layout({ margin: { l: 60, r: 16, t: 34, b: 54 }, xaxis: axis("along a / Å"), yaxis: axis("z / Å", { scaleanchor: "x" }) })];
  }

  // Levels to scale against the vacuum above the top.
  function levels(group, host) {
    const data = host.panels.levels, shapes = [], annotations = [];
    const said = (y, text, x = 1.02) => annotations.push({ x, xref: "paper", xanchor: "left", y, text, showarrow: false, font: { size: 12 } });
    const block = (y0, y1, fillcolor, x0 = 0, x1 = 1) => shapes.push({ type: "rect", xref: "paper", x0, x1, y0, y1, fillcolor, opacity: 0.35, line: { width: 0 } });
    const line = (y, dash, color, x0 = 0, x1 = 1) => shapes.push({ type: "line", xref: "paper", x0, x1, y0: y, y1: y, line: { width: 2, dash, color } });
    const low = Math.min(...Object.values(data.marks)) - 1.2, ink = style("--ink");
    const { vbm, cbm, fermi, vacuum, below } = data.marks;
    if (vbm !== undefined) { block(low, vbm, colours[0]); said(vbm, `VBM ${vbm.toFixed(2)}`); }
    if (cbm !== undefined) { block(cbm, Math.max(cbm + 0.8, cbm), colours[1]); said(cbm, `CBM ${cbm.toFixed(2)}`); }
    if (vbm === undefined) { block(low, fermi, colours[0]); said(fermi, `E<sub>F</sub> ${fermi.toFixed(2)}`); }
    for (const [y0, y1, filled] of data.defects) { line((y0 + y1) / 2, "solid", filled ? colours[2] : colours[3], 0.2, 0.8); if (y1 - y0 > 0.03) block(y0, y1, filled ? colours[2] : colours[3], 0.2, 0.8); }
    line(vacuum, "dash", ink); said(vacuum, "vacuum, top");
    if (Math.abs(below - vacuum) > 0.02) { line(below, "dash", ink); said(below, `bottom ${below.toFixed(2)}`); }
    return [[{ type: "scatter", x: [0], y: [vacuum], mode: "markers", marker: { opacity: 0 }, hoverinfo: "skip" }], layout({
      margin: { l: 56, r: 92, t: 34, b: 30 }, shapes, annotations, showlegend: false,
      xaxis: { visible: false, range: [0, 1] }, yaxis: axis("E − E<sub>vacuum, top</sub> / eV" + (group.physical ? "" : " (mock)"), { range: [low, Math.max(vacuum, below) + 0.4], zeroline: false }),
    })];
  }

  // Atoms and forces at a step of a relaxation.
  function steps(group, index, step) {
    const one = group.relaxations[index], at = nearest(one.drawn, step), data = { ...one.atoms, positions: one.positions[at] };
    const [traces, frame] = atoms(group, { panels: { atoms: data } });
    const length = 3 / Math.max(...one.forces, 1e-9), lines = { x: [], y: [], z: [] };
    one.vectors[at].forEach((force, atom) => ["x", "y", "z"].forEach((key, axis) => lines[key].push(data.positions[atom][axis], data.positions[atom][axis] + length * force[axis], null)));
    traces.push({ type: "scatter3d", mode: "lines", name: "force", ...lines, line: { color: colours[1], width: 7 }, hoverinfo: "skip" });
    return [traces, { ...frame, uirevision: `${group.campaign}/${index}` }];
  }
  const nearest = (drawn, step) => drawn.reduce((best, value, at) => (Math.abs(value - step) < Math.abs(drawn[best] - step) ? at : best), 0);

  function relaxation(group, index, number) {
    const one = group.relaxations[index];
    const steps = one.energies.map((_, step) => step);
    return [[
      { type: "scatter", mode: "lines+markers", name: "energy above the last", x: steps, y: one.energies, line: { color: colours[0] } },
      { type: "scatter", mode: "lines+markers", name: "largest force", x: steps, y: one.forces, yaxis: "y2", line: { color: colours[1], dash: "dot" } },
    ], layout({
      xaxis: axis("step"), yaxis: axis("energy above the last / eV"), margin: { l: 60, r: 64, t: 34, b: 84 },
      shapes: [{ type: "line", x0: choice.step[number] ?? 0, x1: choice.step[number] ?? 0, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: style("--soft") } }],
      yaxis2: axis("largest force / (eV/Å)", { overlaying: "y", side: "right", type: "log", showgrid: false, tickformat: ".1~g", dtick: "D2" }),
    })];
  }

  if (innerWidth < 1080) document.querySelector("nav details").open = false;
  const choice = { zero: "VBM", relaxation: {}, step: {} };
  function draw(place) {
    const [number, kind, which] = place.dataset.plot.split("/");
    const group = groups[number], host = group.hosts[which];
    const drawn = {
      adsorption: () => adsorption(group), dos: () => dos(group, host, choice.zero), atoms: () => atoms(group, host), bands: () => bands(group, host),
      map: () => map(group, host), curves: () => curves(group, host.panels[kind]), profile: () => profile(group, host), relaxation: () => relaxation(group, choice.relaxation[number] ?? 0, number),
      slice: () => slice(group, host), levels: () => levels(group, host), steps: () => steps(group, choice.relaxation[number] ?? 0, choice.step[number] ?? 0),
    }[kind.split("-")[0]]();
    Plotly.react(place, ...drawn, configuration).then(() => { place.dataset.drawn = "yes"; });
  }
  const shown = () => document.querySelectorAll(".plot[data-drawn], .plot[data-near]");

  // Tables sort by a click or a key on a heading; numbers as numbers.
  for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].textContent;
    const sorted = [...body.rows].sort((first, second) => {
      const [a, b] = [value(first), value(second)], numbers = [Number(a), Number(b)];
      if (a === "—" || b === "—") return (a === "—") - (b === "—");
      const order = numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
      return down ? -order : order;
    });
    body.append(...sorted);
  });

  for (const button of document.querySelectorAll("[data-download]")) button.addEventListener("click", () => {
    const [number, what, index] = button.dataset.download.split("/");
    const group = groups[number];
    const text = what === "poscar" ? group.hosts[index].poscar : group[what];
    const name = what === "poscar" ? `${group.hosts[index].name}.vasp` : `${group.campaign}-${group.engine}.${what}`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  for (const select of document.querySelectorAll("[data-relaxation]")) select.addEventListener("change", () => {
    choose(select.dataset.relaxation, Number(select.value), 0);
  });
  function choose(number, index, step) {
    choice.relaxation[number] = index;
    choice.step[number] = step;
    const last = groups[number].relaxations[index].energies.length - 1, one = groups[number].relaxations[index];
    Object.assign(document.querySelector(`[data-step="${number}"]`), { max: last, value: step });
    document.querySelector(`[data-at="${number}"]`).value = `${step} of ${last}: ${one.energies[step].toFixed(3)} eV, ${one.forces[step].toFixed(3)} eV/Å`;
    for (const place of shown()) if (place.matches(`[data-plot="${number}/relaxation/0"], [data-plot="${number}/steps/0"]`)) draw(place);
  }
  for (const range of document.querySelectorAll("[data-step]")) {
    const number = range.dataset.step;
    choose(number, 0, 0);
    range.addEventListener("input", () => {
      const one = groups[number].relaxations[choice.relaxation[number]];
      choose(number, choice.relaxation[number], one.drawn[nearest(one.drawn, Number(range.value))]);
    });
  }
  for (const select of document.querySelectorAll("[data-zero]")) select.addEventListener("change", () => {
    choice.zero = select.value;
    for (const other of document.querySelectorAll("[data-zero]")) other.value = select.value;
    for (const place of shown()) if (place.classList.contains("dos")) draw(place);
  });

  if (!(await unpack())) return;
  // Figures are drawn as they come near. Browsers keep some sixteen pictures in three dimensions alive: one that is out of sight is let go.
  const solid = (place) => place.matches(".atoms, .steps");
  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (isIntersecting) {
        target.dataset.near = "yes";
        draw(target);
        if (!solid(target)) watcher.unobserve(target);
      } else if (target.dataset.drawn) {
        Plotly.purge(target);
        delete target.dataset.drawn;
        delete target.dataset.near;
      }
    }
  }, { rootMargin: "400px" });
  for (const place of document.querySelectorAll(".plot")) watcher.observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown().forEach(draw));
})();
