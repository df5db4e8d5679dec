import t from 'tap'
import { topologies } from '../../../test/helpers/index.ts'
import { linkSuite } from './link-suite.ts'

t.test('single', (t) => linkSuite(t, topologies.single))
