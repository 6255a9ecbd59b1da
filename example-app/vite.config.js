import { defineConfig } from 'vite'

// The page is built into the server's own output, from where Node serves it in development.
export default defineConfig({
  root: new URL('web/', import.meta.url).pathname,
  build: { outDir: new URL('dist/public/', import.meta.url).pathname, emptyOutDir: true },
  logLevel: 'warn',
})
