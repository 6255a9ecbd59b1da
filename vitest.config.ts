import { existsSync, readdirSync } from 'node:fs'
import { relative } from 'node:path'
import { defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * The long files, in the order in which they are begun: one that burns a core beside two that wait. Last and all at once they
 * would slow each other down, and the longest would run alone at the end.
 */
const LONG = [
  'packages/cluster/test/loss.test.ts',
  'example-app/test/thumbnails.test.ts',
  'packages/storage/test/faults.test.ts',
  'test/stateless/stateless.test.ts',
  'packages/realtime/test/cluster.test.ts',
  'dev-services/test/debian.test.ts',
  'packages/cluster/test/crash.test.ts',
  'packages/realtime/test/loss.test.ts',
  'packages/storage/test/put.test.ts',
  'example-app/test/page.test.ts',
  'packages/cluster/test/kills.test.ts',
  'packages/auth/test/faults.test.ts',
  'test/two-hosts/two-hosts.test.ts',
  'packages/realtime/test/outage.test.ts',
  'packages/storage/test/operations-faults.test.ts',
  'test/jobs/jobs.test.ts',
  'packages/jobs/test/attack.test.ts',
  'packages/cluster/test/signals.test.ts',
  'test/install-alone/install-alone.test.ts',
  'packages/storage/test/process.test.ts',
  'test/rolling-deploy/node-versions.test.ts',
  'packages/cache/test/checker.test.ts',
  'packages/cache/test/stampede.test.ts',
  'packages/realtime/test/limits.test.ts',
  'test/rolling-deploy/rolling-deploy.test.ts',
  'test/doctor/doctor.test.ts',
  'packages/storage/test/requests.test.ts',
  'packages/cluster/test/scale.test.ts',
  'example-app/test/main-job.test.ts',
  'packages/jobs/test/outage.test.ts',
  'packages/cluster/test/node-versions.test.ts',
  'packages/cache/test/outage.test.ts',
  'dev-services/test/redis.test.ts',
  'packages/cluster/test/sticky.test.ts',
  'packages/cluster/test/reuse-port.test.ts',
  'packages/cluster/test/shed.test.ts',
]

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONG.indexOf(relative(this.ctx.config.root, moduleId))
      return at < 0 ? LONG.length : at
    }
    // Stable: the others stay in the order of their projects.
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

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
    // On two cores: most files wait for servers, few burn CPU.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
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
            tsconfig: new URL('tsconfig.tests.json', import.meta.url).pathname,
            ignoreSourceErrors: true,
          },
        },
      },
    ],
  },
})
