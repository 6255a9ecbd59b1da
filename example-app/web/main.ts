import { call } from './api.ts'
import { loadPhotos, setUser } from './board.ts'
import { startClusterView, stopClusterView } from './cluster-view.ts'
import { attempt, find } from './elements.ts'
import { connect, disconnect, showBanner } from './live.ts'
import { type User, enter, forget, leave, resume } from './session.ts'
import './upload.ts'

const login = find<HTMLFormElement>('login')
const bannerForm = find<HTMLFormElement>('banner-form')

async function welcome(user: User): Promise<void> {
  find('enter').hidden = true
  find('who').hidden = false
  find('name').textContent = user.name
  find('role').hidden = !user.roles.includes('admin')
  setUser(user)
  startClusterView(user)
  await connect(() => {
    forget()
    goodbye()
  })
  await loadPhotos()
}

function goodbye(): void {
  disconnect()
  stopClusterView()
  setUser(undefined)
  find('enter').hidden = false
  find('who').hidden = true
  login.querySelector('input')?.focus()
}

login.addEventListener('submit', (event) => {
  event.preventDefault()
  const how = (event.submitter as HTMLButtonElement | null)?.value === 'signup' ? 'signup' : 'login'
  const data = new FormData(login)
  attempt(async () => {
    const user = await enter(how, String(data.get('name')), String(data.get('password')))
    login.reset()
    await welcome(user)
    find('board').focus()
  })
})

for (const [id, everywhere] of [
  ['logout', false],
  ['logout-everywhere', true],
] as const)
  find(id).addEventListener('click', () =>
    attempt(async () => {
      await leave(everywhere)
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
  const [user, { text }] = await Promise.all([resume(), call<{ text: string }>('/banner', { anonymous: true })])
  showBanner(text)
  if (user) await welcome(user)
  else await loadPhotos()
})
