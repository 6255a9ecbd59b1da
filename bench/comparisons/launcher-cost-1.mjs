import { launcherCost } from '../lib/launcher-cost.mjs'

export default launcherCost(1)
