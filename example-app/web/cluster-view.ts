/** The workers of every host as tiles, and what an admin can do to them. */
import { call } from './api.ts'
import { paint } from './answers.ts'
import { attempt, find, make } from './elements.ts'
import type { User } from './session.ts'

interface Slot {
  slot: number
  role: string
  state: string
  restarts: number
  pid?: number
  requestsPerSecond?: number
  connections?: { active: number; idle: number }
  utilization?: number
  cpu?: number
  memory?: number
}
interface Launcher {
  id: string
  host: string
  name: string
  pid: number
  slots: Slot[]
  warnings: string[]
}

const MAX_WORKERS = 16
const LOOK_MS = 1_000
const STATES: Record<string, string> = { gone: 'coming back', closing: 'draining' }

const box = find('launchers')
/** What is on the page, by launcher and by slot: changed in place, so that a click or the focus never meets a node that is gone. */
const sections = new Map<string, Section>()
let admin = false
let timer: number | undefined
let looking: Promise<void> | undefined

export function startClusterView(user: User): void {
  admin = user.roles.includes('admin')
  for (const id of ['cluster', 'pulse']) find(id).hidden = false
  find('banner-form').hidden = !admin
  find('not-admin').hidden = admin
  stopClusterView(false)
  const look = async (): Promise<void> => {
    try {
      draw((await call<{ launchers: Launcher[] }>('/cluster')).launchers)
    } catch {
      // It is counted; the next look follows.
    }
    timer = window.setTimeout(next, LOOK_MS)
  }
  const next = (): void => {
    looking = look()
  }
  next()
}

/** Asks no more; resolves when nothing is on its way. */
export async function pauseClusterView(): Promise<void> {
  window.clearTimeout(timer)
  await looking
  window.clearTimeout(timer)
}

export function stopClusterView(hide = true): void {
  window.clearTimeout(timer)
  timer = undefined
  sections.clear()
  box.replaceChildren()
  if (hide) for (const id of ['cluster', 'pulse']) find(id).hidden = true
}

function draw(launchers: Launcher[]): void {
  const ids = new Set(launchers.map(({ id }) => id))
  for (const [id, section] of sections)
    if (!ids.has(id)) {
      section.element.remove()
      sections.delete(id)
    }
  for (const launcher of launchers.toSorted((a, b) => (a.host + a.pid < b.host + b.pid ? -1 : 1))) {
    let section = sections.get(launcher.id)
    if (!section) {
      section = makeSection(launcher)
      sections.set(launcher.id, section)
      box.append(section.element)
    }
    section.update(launcher)
  }
}

interface Section {
  element: HTMLElement
  update(launcher: Launcher): void
}

function makeSection(first: Launcher): Section {
  let { length } = first.slots
  const size = make('small')
  const warnings = make('div', { class: 'bad' })
  const tiles = make('ul', { class: 'tiles' })
  const bySlot = new Map<number, Tile>()
  const { id, host } = first
  const where = `on ${host}`
  const element = make('section', {}, make('h3', {}, host, ' ', size))
  if (admin)
    element.append(
      make(
        'div',
        { class: 'actions' },
        button('Reload all', `Reload all workers ${where}`, () => order(id, { do: 'reload' })),
        button('Add one', `Add one worker ${where}`, () =>
          order(id, { do: 'scale', to: Math.min(MAX_WORKERS, length + 1) }),
        ),
        button('Remove one', `Remove one worker ${where}`, () =>
          order(id, { do: 'scale', to: Math.max(1, length - 1) }),
        ),
      ),
    )
  element.append(warnings, tiles)
  return {
    element,
    update({ slots, pid, warnings: now }) {
      length = slots.length
      size.textContent = `${length} ${length === 1 ? 'worker' : 'workers'}, launcher ${pid}`
      warnings.textContent = now.join(' ')
      for (const [slot, tile] of bySlot)
        if (!slots.some((one) => one.slot === slot)) {
          tile.element.remove()
          bySlot.delete(slot)
        }
      for (const slot of slots) {
        let tile = bySlot.get(slot.slot)
        if (!tile) {
          tile = makeTile(id, host, slot.slot)
          bySlot.set(slot.slot, tile)
          tiles.append(tile.element)
        }
        tile.update(slot)
      }
    },
  }
}

interface Tile {
  element: HTMLElement
  update(slot: Slot): void
}

const ROWS: readonly [string, (slot: Slot) => string][] = [
  ['Requests/s', ({ requestsPerSecond }) => String(requestsPerSecond ?? '–')],
  ['CPU', ({ cpu }) => percent(cpu)],
  ['Memory', ({ memory }) => (memory === undefined ? '–' : `${Math.round(memory / 1_048_576)} MB`)],
  ['Event loop', ({ utilization }) => percent(utilization)],
  ['Sockets', ({ connections }) => (connections ? String(connections.active + connections.idle) : '–')],
  ['Restarts', ({ restarts }) => String(restarts)],
]

function makeTile(launcher: string, host: string, slot: number): Tile {
  const pidOf = make('span')
  const state = make('span', { class: 'state' })
  const values = ROWS.map(([name]) => ({ term: make('dt', {}, name), value: make('dd') }))
  const element = make(
    'li',
    { class: 'tile' },
    make('h4', {}, make('span', { class: 'dot', 'aria-hidden': 'true' }), pidOf, state),
    make('dl', {}, ...values.map(({ term, value }) => make('div', {}, term, value))),
  )
  const replace = button('Replace', '', () => order(launcher, { do: 'restart', slot }))
  const kill = button('Kill', '', () => order(launcher, { do: 'kill', slot }))
  kill.classList.add('danger')
  if (admin) element.append(make('div', { class: 'actions' }, replace, kill))
  return {
    element,
    update(now) {
      element.className = `tile ${now.state}`
      if (now.pid) paint(element, `${host}/${now.pid}`)
      pidOf.textContent = now.pid ? `${now.pid}` : '–'
      const says = STATES[now.state] ?? now.state
      state.textContent = now.role === 'web' ? says : `${now.role}, ${says}`
      for (const [i, [, read]] of ROWS.entries()) (values[i] as { value: HTMLElement }).value.textContent = read(now)
      replace.setAttribute('aria-label', `Replace worker ${now.pid ?? ''}`)
      kill.setAttribute('aria-label', `Kill worker ${now.pid ?? ''}`)
      // Not `disabled`, which would take the focus away from who works by keyboard.
      for (const one of [replace, kill]) one.setAttribute('aria-disabled', String(!now.pid))
    },
  }
}

async function order(launcher: string, what: object): Promise<void> {
  await call('/cluster', { method: 'POST', json: { launcher, ...what } })
}

function button(label: string, name: string, act: () => Promise<void>): HTMLButtonElement {
  const element = make('button', { type: 'button', class: 'quiet', 'aria-label': name }, label)
  element.addEventListener('click', () => {
    if (element.getAttribute('aria-disabled') !== 'true') attempt(act)
  })
  return element
}

function percent(part: number | undefined): string {
  return part === undefined ? '–' : `${Math.round(part * 100)} %`
}
