import { createScaleError, type ScaleErrorConstructor } from '@fastify-scale/kit'

/** A wrong option of scaleCluster. */
export const ClusterOptionError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_OPTION')

/** A command for the launcher (reload, scale, restart, kill) in a process that no launcher runs. Status 501. */
export const NoLauncherError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NO_LAUNCHER', '%s', 501)

/** A name that this worker has already given to `singleton()` or `shared()`. */
export const NameTakenError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NAME_TAKEN')

/** A value that JSON can't carry was given to `broadcast()` or returned by a loader. */
export const NotSerializableError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NOT_SERIALIZABLE')

/** A shared value was read before it was loaded for the first time. Status 503. */
export const NotLoadedError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NOT_LOADED', '%s', 503)

/** A fresh load of a shared value was asked for and failed. */
export const LoadFailedError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_LOAD_FAILED')
