/** Finds an element that the page is known to have. */
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element as T
}

/** Makes an element. Text is text: nothing that a user wrote is ever read as HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | boolean> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '')
    else if (value !== false) element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

/** Shows a message to the user, or takes it away. */
export function say(text: string): void {
  const message = find('message')
  message.textContent = text
  message.hidden = text === ''
}

/** Runs something that the user asked for; if it fails, they are told. */
export function attempt(work: () => Promise<void>): void {
  say('')
  work().catch((error: Error) => say(error.message))
}
