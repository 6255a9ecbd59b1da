import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

// The page is built into the server's own output, from where Node serves it in development.
export default defineConfig({
  root: fileURLToPath(new URL('web/', import.meta.url)),
  build: { outDir: fileURLToPath(new URL('dist/public/', import.meta.url)), emptyOutDir: true },
  logLevel: 'warn',
})
