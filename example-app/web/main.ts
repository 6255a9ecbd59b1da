import { call, useSession } from './api.ts'
import { loadPhotos, setUser } from './board.ts'
import { pauseClusterView, startClusterView, stopClusterView } from './cluster-view.ts'
import { attempt, find } from './elements.ts'
import { connect, disconnect, showBanner } from './live.ts'
import { type User, enter, forget, getToken, leave, resume } from './session.ts'
import './upload.ts'

const login = find<HTMLFormElement>('login')
const bannerForm = find<HTMLFormElement>('banner-form')

const PATIENCE_MS = 2_000
const pause = (ms: number): Promise<void> => new Promise((resolve) => window.setTimeout(resolve, ms))

let user: User | undefined

async function welcome(now: User): Promise<void> {
  user = now
  find('enter').hidden = true
  find('who').hidden = false
  find('name').textContent = user.name
  find('role').hidden = !user.roles.includes('admin')
  setUser(user)
  startClusterView(user)
  // The room before the list, so that nothing falls in between; but where it can't be had, the list does not wait for it.
  const joined = connect(ended)
  const inTime = await Promise.race([joined.then(() => true), pause(PATIENCE_MS)])
  await loadPhotos()
  if (inTime) return
  await joined
  await loadPhotos()
}

/** The session was ended from elsewhere. */
function ended(): void {
  forget()
  goodbye()
}
useSession({ token: getToken, ended })

function goodbye(): void {
  disconnect()
  stopClusterView()
  setUser((user = undefined))
  find('enter').hidden = false
  find('who').hidden = true
  login.querySelector('input')?.focus()
}

login.addEventListener('submit', (event) => {
  event.preventDefault()
  const how = (event.submitter as HTMLButtonElement | null)?.value === 'signup' ? 'signup' : 'login'
  const data = new FormData(login)
  attempt(async () => {
    const entered = await enter(how, String(data.get('name')), String(data.get('password')))
    login.reset()
    const shown = welcome(entered)
    // At once: whoever has gone on meanwhile is not to be called back.
    find('board').focus()
    await shown
  })
})

for (const [id, everywhere] of [
  ['logout', false],
  ['logout-everywhere', true],
] as const)
  find(id).addEventListener('click', () =>
    attempt(async () => {
      // Nothing that is asked meanwhile shall be refused.
      await pauseClusterView()
      try {
        await leave(everywhere)
      } catch (error) {
        if (user) startClusterView(user)
        throw error
      }
      goodbye()
    }),
  )

bannerForm.addEventListener('submit', (event) => {
  event.preventDefault()
  attempt(async () => {
    await call('/banner', { method: 'PUT', json: { text: String(new FormData(bannerForm).get('text')) } })
  })
})

attempt(async () => {
  const [found, { text }] = await Promise.all([resume(), call<{ text: string }>('/banner', { anonymous: true })])
  showBanner(text)
  if (found) await welcome(found)
  else await loadPhotos()
})
