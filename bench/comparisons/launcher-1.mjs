import { launcherComparison } from '../lib/launcher-round.mjs'

export default launcherComparison(1)
