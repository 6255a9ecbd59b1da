import { createScaleError, type ScaleErrorConstructor } from '@fastify-scale/kit'

/** A wrong option of the launcher or of scaleCluster. */
export const ClusterOptionError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_OPTION')

/** The app is not there, can't be loaded, or exports nothing that the launcher can run. */
export const AppError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_APP')

/** The address can't be listened on: taken, privileged, or not this machine's. */
export const AddressError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_ADDRESS')

/** No worker became ready in time, or the app failed while it started. */
export const StartError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_START')

/** A launcher with this name runs already. */
export const RunningError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_RUNNING')

/** No launcher with this name runs. */
export const NotRunningError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NOT_RUNNING', '%s', 503)

/** The launcher is stopping and takes no more orders. Status 503. */
export const StoppingError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_STOPPING', '%s', 503)

/** A reload was given up; the workers that served before still serve. */
export const ReloadError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_RELOAD')

/** The control socket was sent something that is not an order, or an answer came that is none. Status 400. */
export const ControlError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_CONTROL', '%s', 400)

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

/** The other side of the launcher's channel did not answer. Status 503. */
export const NoAnswerError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_NO_ANSWER', '%s', 503)

/** A call failed on the other side; `code` is the one it had there. */
export const CallError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_CALL_FAILED')

/** The admin address can't be read or listened on. */
export const AdminAddressError: ScaleErrorConstructor = createScaleError('SCALE_CLUSTER_ADMIN_ADDRESS')
