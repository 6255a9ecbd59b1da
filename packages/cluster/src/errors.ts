import { createScaleError, type ScaleErrorConstructor } from '@fastify-scale/kit'

export { ClusterOptionError } from './app-errors.ts'

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
