import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { debianTool } from '@fastify-scale/dev-services'
import type { AxeResults } from 'axe-core'
import { type BrowserContext, type Page, chromium } from 'playwright-core'
import { PASSWORD } from './client.ts'

const artifacts = fileURLToPath(new URL('../../../artifacts/', import.meta.url))
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export interface Browser {
  open(url: string, options?: { width?: number; height?: number; colorScheme?: 'light' | 'dark' }): Promise<Tab>
  close(): Promise<void>
}

/** A page in a context of its own: nobody else's cookies. */
export interface Tab {
  page: Page
  /** What the console or the page complained of: errors, warnings, exceptions. */
  problems: string[]
  close(): Promise<void>
}

/** Starts Chromium, fetched from Debian where it isn't installed. */
export async function startBrowser(): Promise<Browser> {
  const { path, env, args } = await debianTool('chromium')
  const home = mkdtempSync(join(tmpdir(), 'photo-board-'))
  const browser = await chromium.launch({
    executablePath: path,
    env: {
      ...(process.env as Record<string, string>),
      ...env,
      HOME: home,
      XDG_CONFIG_HOME: home,
      XDG_CACHE_HOME: home,
    },
    // Nothing but the page is asked for: no update, no sync, no look for a network.
    args: [
      ...args,
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  const contexts = new Set<BrowserContext>()
  return {
    async open(url, { width = 1440, height = 900, colorScheme = 'light' } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, locale: 'en-GB' })
      context.setDefaultTimeout(15_000)
      contexts.add(context)
      const page = await context.newPage()
      const problems: string[] = []
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`)
      })
      page.on('pageerror', (error) => problems.push(`exception: ${error.message}`))
      await page.goto(url)
      return { page, problems, close: () => context.close() }
    },
    async close() {
      await browser.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Fills in the form; resolves when the live connection is there. */
export async function enter(page: Page, name: string, how: 'Sign up' | 'Log in' = 'Sign up'): Promise<void> {
  await page.getByLabel('Name').fill(name)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: how, exact: true }).click()
  await page.locator('#live.colored').waitFor()
}

/** Adds a photo by the form and gives the values that the progress bar went through. */
export async function addPhoto(
  page: Page,
  photo: { file: Buffer; caption: string; direct?: boolean },
): Promise<number[]> {
  await page.locator('#upload-fields:enabled').waitFor()
  await page.getByLabel('Photo', { exact: true }).setInputFiles({
    name: 'photo.png',
    mimeType: 'image/png',
    buffer: photo.file,
  })
  await page.locator('#upload [name=caption]').fill(photo.caption)
  await page.getByLabel('Straight to S3').setChecked(photo.direct ?? false)
  const values = await page.evaluateHandle(() => {
    const bar = document.querySelector('progress') as HTMLProgressElement
    const seen: number[] = []
    new MutationObserver(() => seen.push(bar.value)).observe(bar, { attributeFilter: ['value'] })
    return seen
  })
  await page.getByRole('button', { name: 'Add photo' }).click()
  await page.locator('#upload-status', { hasText: 'is on the board' }).waitFor()
  await page.locator('.caption', { hasText: photo.caption }).first().waitFor()
  return values.jsonValue()
}

/** Keeps a screenshot among the test's artefacts. */
export async function keep(page: Page, name: string, fullPage = false): Promise<void> {
  mkdirSync(artifacts, { recursive: true })
  await page.screenshot({ path: join(artifacts, `${name}.png`), fullPage })
}

/** What axe finds wrong, one line each. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeSource)
  const { violations } = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(where: Document): Promise<AxeResults> } }).axe.run(document),
  )
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target }) => `${id}: ${help}: ${String(target)}`))
}

/** Presses Tab until the focus is on what the selector means. */
export async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press('Tab')
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return
  }
  throw new Error(`no ${selector} is reached by Tab`)
}
