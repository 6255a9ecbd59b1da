import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig, type TestProjectConfiguration } from 'vitest/config'

// One project for each package and folder, named after it: `vitest run --project auth`.
const folders: [name: string, root: string][] = [
  ...readdirSync('packages').map((name): [string, string] => [name, `packages/${name}`]),
  ['dev-services', 'dev-services'],
  ['example-app', 'example-app'],
  ['test', 'test'],
  ['bench', 'bench'],
]

export default defineConfig({
  test: {
    // More files at once than a small machine has cores: most tests wait for servers, few burn CPU.
    maxWorkers: 3,
    projects: [
      ...folders
        .filter(([, root]) => existsSync(root))
        .map(
          ([name, root]): TestProjectConfiguration => ({
            // In-process tests run the sources; child processes run what `pnpm build` made.
            ssr: { resolve: { conditions: ['fastify-scale-source', 'node'] } },
            resolve: { conditions: ['fastify-scale-source', 'node'] },
            test: {
              name,
              root,
              include: name === 'test' || name === 'bench' ? ['**/*.test.ts'] : ['test/**/*.test.ts'],
              exclude: ['**/node_modules/**', '**/dist/**'],
              pool: 'forks',
              testTimeout: 30_000,
              hookTimeout: 120_000,
            },
          }),
        ),
      // The type tests of all packages, which one run of the compiler checks.
      {
        test: {
          name: 'types',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            checker: 'tsc',
            include: ['{packages/*,dev-services}/test/**/*.test-d.ts'],
            tsconfig: fileURLToPath(new URL('tsconfig.tests.json', import.meta.url)),
            ignoreSourceErrors: true,
          },
        },
      },
    ],
  },
})
