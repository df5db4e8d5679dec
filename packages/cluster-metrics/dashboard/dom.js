/* global document */

/** An element with a class and children; text is always text. */
export function el (name, className = '', ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children.filter((child) => child !== null && child !== false).map((child) => typeof child === 'object' ? child : String(child)))
  return element
}

/** Marks an element, so that it stays the same one wherever it moves among its siblings. */
export function keyed (key, element) {
  element.dataset.key = key
  return element
}

/**
 * Makes the children of an element be like the given ones, and changes only what differs: who scrolls, selects a text or
 * holds the focus is not disturbed.
 */
export function fill (parent, ...children) {
  const byKey = new Map([...parent.children].filter(({ dataset }) => dataset.key !== undefined).map((child) => [child.dataset.key, child]))
  let at = parent.firstChild
  for (const given of children) {
    const child = typeof given === 'object' ? given : document.createTextNode(String(given))
    const key = child.dataset?.key
    const known = key === undefined ? (at?.dataset?.key === undefined ? at : null) : byKey.get(key)
    if (known && known.nodeName === child.nodeName) {
      if (known !== at) parent.insertBefore(known, at)
      else at = at.nextSibling
      merge(known, child)
    } else {
      parent.insertBefore(child, at)
    }
  }
  while (at !== null) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

function merge (known, child) {
  if (known.nodeType !== 1) {
    if (known.data !== child.data) known.data = child.data
    return
  }
  for (const { name } of [...known.attributes]) if (!child.hasAttribute(name)) known.removeAttribute(name)
  for (const { name, value } of child.attributes) if (known.getAttribute(name) !== value) known.setAttribute(name, value)
  // A listener belongs to what was drawn first, so it must not remember what it was drawn for.
  fill(known, ...child.childNodes)
}

/** A number as people write it: three digits that matter, thousands as k and M. */
export function format (value) {
  if (typeof value !== 'number' || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1e9) return `${trim(value / 1e9)}G`
  if (size >= 1e6) return `${trim(value / 1e6)}M`
  if (size >= 1e4) return `${trim(value / 1e3)}k`
  return trim(value)
}

function trim (value) {
  const size = Math.abs(value)
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)))
}
