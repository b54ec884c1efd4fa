// The map of the embedding: marks that can be pointed at, stepped through, filtered and zoomed.
(function () {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 600, HEIGHT = 420, EDGE = 14, REACH = 16, LARGEST_ZOOM = 40;
  const COLOURS = 8;
  const SHAPES = [
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-5l4.6,8h-9.2z",
    "M0,-5.2l4.4,5.2l-4.4,5.2l-4.4,-5.2z",
    "M-1.6,-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
    "M0,5l4.6,-8h-9.2z",
    "M0,-5.6l1.6,3.7l4,.3l-3,2.7l.9,3.9l-3.5,-2.1l-3.5,2.1l.9,-3.9l-3,-2.7l4,-.3z",
    "M-5.2,-2.3h10.4v4.6h-10.4z",
  ]; // as many as colours, so that up to eight classes have a shape of their own
  const maps = JSON.parse(document.getElementById("map-data").textContent);
  const byId = (name) => document.getElementById(name);
  const svg = byId("map-svg"), card = byId("map-card"), classes = byId("map-classes");
  const tip = make("div", "tip");
  tip.id = "map-tip";
  tip.hidden = true;
  svg.parentNode.append(tip);
  let map, points, hidden, zoom, chosen, drag;

  function make(name, look, text) {
    const element = document.createElement(name);
    if (look) element.className = look;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function mark(label) {
    const path = document.createElementNS(SVG, "path");
    const kind = label === undefined || label < 0 ? 0 : label;
    path.setAttribute("class", "dot s" + (kind % COLOURS));
    path.setAttribute("d", SHAPES[(kind + Math.floor(kind / COLOURS)) % SHAPES.length]);
    return path;
  }

  const NONE = -1; // stands for no label
  const labels = (i) => (map.labels[i].length ? map.labels[i] : [NONE]);
  const label = (i) => (map.labels ? labels(i)[0] : undefined);
  const className = (number) => (number < 0 ? "no label" : map.names[number]);
  const name = (i) => (map.labels ? labels(i).map(className).join(", ") : "Picture " + (i + 1));
  const isShown = (i) => !map.labels || labels(i).some((one) => !hidden.has(one));
  const place = (i) => [EDGE + map.x[i] * (WIDTH - 2 * EDGE), EDGE + (1 - map.y[i]) * (HEIGHT - 2 * EDGE)];

  // === Pictures ===

  function picture(i, size) {
    const element = make("div", "thumb");
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", name(i));
    element.style.width = element.style.height = size + "px";
    if (map.sheet) {
      element.style.backgroundImage = 'url("' + map.sheet + '")';
      element.style.backgroundSize = map.columns * size + "px auto";
      element.style.backgroundPosition =
        -(i % map.columns) * size + "px " + -Math.floor(i / map.columns) * size + "px";
    }
    return element;
  }

  function say(i) {
    if (!map.predicted) return "";
    if (label(i) < 0) return "kNN takes it for " + map.names[map.predicted[i]] + ".";
    return labels(i).includes(map.predicted[i])
      ? "✓ kNN names it rightly."
      : "✗ kNN takes it for " + map.names[map.predicted[i]] + ".";
  }

  function choose(i) {
    if (chosen !== undefined) points[chosen].classList.remove("chosen");
    chosen = i;
    tip.hidden = i === undefined;
    if (i === undefined) {
      card.replaceChildren(make("p", "", "No picture is chosen."));
      return;
    }
    const point = points[i];
    point.classList.add("chosen");
    point.parentNode.append(point); // above the others
    tip.replaceChildren(picture(i, 64), make("div", "", name(i)));
    const inner = [make("p", "", ""), picture(i, 112), make("p", "", say(i))];
    inner[0].append(make("strong", "", name(i)));
    if (map.near) {
      inner.push(make("p", "", "Most like it, of those on the map:"));
      const list = make("ul", "near");
      for (const other of map.near[i]) {
        const item = make("li");
        const both = map.labels && label(i) >= 0 && label(other) >= 0;
        const sign = both ? (labels(other).some((one) => labels(i).includes(one)) ? "✓ " : "✗ ") : "";
        item.append(picture(other, 40), sign + name(other));
        list.append(item);
      }
      inner.push(list);
    }
    card.replaceChildren(...inner);
    moveTip();
  }

  function moveTip() {
    if (chosen === undefined) return;
    const [x, y] = place(chosen);
    const scale = svg.clientWidth / zoom.width;
    const left = (x - zoom.x) * scale, top = (y - zoom.y) * scale;
    const outside = left < 0 || top < 0 || left > svg.clientWidth || top > svg.clientHeight;
    tip.hidden = outside;
    tip.style.left = Math.max(0, Math.min(left + 12, svg.clientWidth - tip.offsetWidth - 2)) + "px";
    const below = top + 12 + tip.offsetHeight < svg.clientHeight;
    tip.style.top = Math.max(0, below ? top + 12 : top - 12 - tip.offsetHeight) + "px";
  }

  // === Zoom ===

  function look(x, y, width) {
    width = Math.min(WIDTH, Math.max(WIDTH / LARGEST_ZOOM, width));
    const height = (width * HEIGHT) / WIDTH;
    zoom = {
      x: Math.min(WIDTH - width, Math.max(0, x)), y: Math.min(HEIGHT - height, Math.max(0, y)), width, height,
    };
    svg.setAttribute("viewBox", [zoom.x, zoom.y, zoom.width, zoom.height].join(" "));
    const size = zoom.width / WIDTH; // marks stay as large as they are
    points.forEach((point, i) => point.setAttribute("transform", `translate(${place(i).join(" ")}) scale(${size})`));
    moveTip();
  }

  function zoomBy(factor, x, y) {
    if (x === undefined) {
      [x, y] = chosen === undefined ? [zoom.x + zoom.width / 2, zoom.y + zoom.height / 2] : place(chosen);
    }
    const width = Math.min(WIDTH, Math.max(WIDTH / LARGEST_ZOOM, zoom.width / factor));
    const share = width / zoom.width;
    look(x - (x - zoom.x) * share, y - (y - zoom.y) * share, width);
  }

  function keepInSight(i) {
    const [x, y] = place(i);
    if (x < zoom.x || y < zoom.y || x > zoom.x + zoom.width || y > zoom.y + zoom.height) {
      look(x - zoom.width / 2, y - zoom.height / 2, zoom.width);
    }
  }

  // === Pointing and stepping ===

  function under(event) {
    const box = svg.getBoundingClientRect();
    const scale = zoom.width / box.width;
    return [zoom.x + (event.clientX - box.left) * scale, zoom.y + (event.clientY - box.top) * scale, scale];
  }

  function nearestTo(x, y, accept) {
    let best, least = Infinity;
    for (let i = 0; i < map.x.length; i++) {
      if (!isShown(i) || !accept(i)) continue;
      const [px, py] = place(i);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return [best, Math.sqrt(least)];
  }

  function step(dx, dy) {
    if (chosen === undefined) return choose(nearestTo(WIDTH / 2, HEIGHT / 2, () => true)[0]);
    const [x, y] = place(chosen);
    // within 45 degrees of the direction; of several, the nearest
    const [next] = nearestTo(x, y, (i) => {
      const [px, py] = place(i);
      const along = (px - x) * dx + (py - y) * dy, across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      return i !== chosen && along > 0 && across <= along;
    });
    if (next !== undefined) {
      choose(next);
      keepInSight(next);
    }
  }

  svg.addEventListener("pointermove", (event) => {
    const [x, y, scale] = under(event);
    if (drag) return look(drag.x - (event.clientX - drag.left) * scale, drag.y - (event.clientY - drag.top) * scale, zoom.width);
    const [found, distance] = nearestTo(x, y, () => true);
    if (found !== undefined && found !== chosen && distance <= REACH * scale) choose(found);
  });
  svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") { // a tap does not move
      const [x, y, scale] = under(event);
      const [found, distance] = nearestTo(x, y, () => true);
      if (found !== undefined && distance <= 2 * REACH * scale) choose(found);
    }
    svg.focus({ preventScroll: true });
    if (zoom.width < WIDTH && event.pointerType === "mouse") {
      drag = { left: event.clientX, top: event.clientY, x: zoom.x, y: zoom.y };
      svg.setPointerCapture(event.pointerId);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => (drag = undefined));
  svg.addEventListener("wheel", (event) => {
    if (event.deltaY > 0 && zoom.width === WIDTH) return; // the page scrolls
    event.preventDefault();
    const [x, y] = under(event);
    zoomBy(Math.exp(-Math.max(-1, Math.min(1, event.deltaY / 200))), x, y);
  }, { passive: false });
  svg.addEventListener("focus", () => {
    if (chosen === undefined) step(0, 0);
  });
  svg.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
      "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => look(0, 0, WIDTH),
      Escape: () => choose(undefined),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  byId("map-in").addEventListener("click", () => zoomBy(1.5));
  byId("map-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("map-reset").addEventListener("click", () => look(0, 0, WIDTH));
  window.addEventListener("resize", () => moveTip());

  // === Classes ===

  function filter() {
    points.forEach((point, i) => point.classList.toggle("off", !isShown(i)));
    if (chosen !== undefined && !isShown(chosen)) choose(undefined);
    const shown = points.filter((_, i) => isShown(i)).length;
    byId("map-note").textContent = (shown < points.length ? shown + " shown of " : "") + map.note;
  }

  function boxes() {
    classes.hidden = !map.labels;
    while (classes.children.length > 1) classes.lastChild.remove();
    if (!map.labels) return;
    const inputs = [];
    const set = (on) => {
      for (const [number, input] of inputs) {
        input.checked = on;
        if (on) hidden.delete(number); else hidden.add(number);
      }
      filter();
    };
    for (const [text, on] of [["All", true], ["None", false]]) {
      const button = make("button", "", text);
      button.type = "button";
      button.addEventListener("click", () => set(on));
      classes.append(button);
    }
    const used = new Set(map.labels.flatMap((_, i) => labels(i)));
    for (const number of [...used].sort((a, b) => a - b)) {
      const box = make("label"), input = make("input");
      input.type = "checkbox";
      input.checked = true;
      input.addEventListener("change", () => {
        if (input.checked) hidden.delete(number); else hidden.add(number);
        filter();
      });
      const sample = document.createElementNS(SVG, "svg");
      sample.setAttribute("viewBox", "-7 -7 14 14");
      sample.setAttribute("aria-hidden", "true");
      sample.append(mark(number));
      box.append(input, sample, className(number));
      inputs.push([number, input]);
      classes.append(box);
    }
  }

  function show(number) {
    map = maps[number];
    hidden = new Set();
    chosen = undefined;
    svg.replaceChildren();
    const group = document.createElementNS(SVG, "g");
    points = map.x.map((_, i) => group.appendChild(mark(label(i))));
    svg.append(group);
    boxes();
    choose(undefined);
    look(0, 0, WIDTH);
    filter();
  }

  const which = byId("map-which");
  maps.forEach((one, i) => {
    const option = make("option", "", one.title);
    option.value = i;
    which.append(option);
  });
  which.parentNode.hidden = maps.length < 2;
  which.addEventListener("change", () => show(Number(which.value)));
  byId("map-body").hidden = false;
  show(0);
})();
