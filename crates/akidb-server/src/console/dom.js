// Small helpers to build elements; texts are always set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);
export const element = (name, attributes = {}, ...children) =>
  build(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) =>
  build(document.createElementNS(SVG, name), attributes, children);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls `draw` when the element's size, or its width alone, or the colour scheme changes. */
export function redrawn(target, draw, widthAlone = false) {
  let before = "";
  new ResizeObserver(([{ contentRect }]) => {
    const size = `${Math.round(contentRect.width)} ${widthAlone ? "" : Math.round(contentRect.height)}`;
    if (size === before) return;
    before = size;
    draw();
  }).observe(target);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
