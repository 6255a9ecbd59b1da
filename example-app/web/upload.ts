/** Adding a photo: through the app as a form, or straight from here to S3. */
import { call, send } from './api.ts'
import { type Photo, showPhoto } from './board.ts'
import { attempt, find } from './elements.ts'

const form = find<HTMLFormElement>('upload')
const fields = find<HTMLFieldSetElement>('upload-fields')
const progress = find<HTMLProgressElement>('progress')
const status = find('upload-status')

function showProgress(part: number): void {
  progress.value = part
}

async function throughApp(file: File, caption: string): Promise<Photo> {
  const body = new FormData()
  body.set('caption', caption)
  body.set('file', file)
  return send<Photo>('/api/photos', body, showProgress, true)
}

/** The app only gives the permission, and checks what arrived. */
async function straightToS3(file: File, caption: string): Promise<Photo> {
  const grant = await call<{ url: string; fields: Record<string, string>; key: string }>('/uploads', {
    method: 'POST',
    json: { contentType: file.type, size: file.size },
  })
  const body = new FormData()
  for (const [name, value] of Object.entries(grant.fields)) body.set(name, value)
  body.set('file', file)
  await send(grant.url, body, showProgress, false)
  return call<Photo>('/uploads/complete', { method: 'POST', json: { key: grant.key, caption } })
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  attempt(async () => {
    const data = new FormData(form)
    const file = data.get('file') as File
    const caption = String(data.get('caption'))
    showProgress(0)
    progress.hidden = false
    fields.disabled = true
    status.textContent = `Uploading ${file.name}…`
    let done = false
    try {
      showPhoto(await (data.get('direct') ? straightToS3(file, caption) : throughApp(file, caption)))
      done = true
    } finally {
      progress.hidden = true
      fields.disabled = false
      status.textContent = done ? `${file.name} is on the board.` : ''
      if (done) form.reset()
      // A disabled button lost the focus.
      if (document.activeElement === document.body) form.querySelector('input')?.focus()
    }
  })
})
