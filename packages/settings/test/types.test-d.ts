import Fastify from 'fastify'
import { Type } from 'typebox'
import { expectTypeOf, test } from 'vitest'
import scaleSettings, { type Change, type SettingName } from '@fastify-scale/settings'

declare module '@fastify-scale/settings' {
  interface Settings {
    testMaintenance: boolean
    testLimits: { upload: number }
  }
}

test('settings are typed by the interface that the user augments', () => {
  const app = Fastify()
  void app.register(scaleSettings, {
    redis: 'redis://localhost',
    schema: {
      testMaintenance: { type: 'boolean', default: false },
      testLimits: { type: 'object', default: { upload: 1 } },
    },
  })
  void app.register(scaleSettings, { schema: Type.Object({ testMaintenance: Type.Boolean({ default: false }) }) })
  void app.register(scaleSettings, { schema: { testMaintenance: Type.Boolean({ default: false }) } })
  expectTypeOf<'testMaintenance' | 'testLimits'>().toExtend<SettingName>()
  expectTypeOf<'testMaintenence'>().not.toExtend<SettingName>()
  expectTypeOf(app.settings.get('testMaintenance')).toEqualTypeOf<boolean>()
  expectTypeOf(app.settings.get('testLimits').upload).toEqualTypeOf<number>()
  expectTypeOf(app.settings.set('testMaintenance', true)).resolves.toEqualTypeOf<Change<'testMaintenance'>>()
  app.settings.onChange('testLimits', (value, previous, change) => {
    expectTypeOf(value).toEqualTypeOf<{ upload: number }>()
    expectTypeOf(previous).toEqualTypeOf<{ upload: number }>()
    expectTypeOf(change.version).toEqualTypeOf<number>()
  })
  // @ts-expect-error there is no such setting
  app.settings.get('testMaintenence')
  // @ts-expect-error a boolean is wanted
  void app.settings.set('testMaintenance', 'yes')
  // @ts-expect-error there is no such option
  void app.settings.set('testMaintenance', true, { version: 1 })
})
