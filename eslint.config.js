import neostandard from 'neostandard'

export default [
  { ignores: ['**/dist/**', '.tap/**', '.run/**', '.cache/**', '**/playwright-report/**', 'packages/cluster-metrics/dashboard/files.js'] },
  ...neostandard({ ts: true }),
  {
    files: ['examples/*/public/**/*.js', 'packages/*/dashboard/**/*.js'],
    languageOptions: { globals: { addEventListener: 'readonly', location: 'readonly' } }
  },
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'error' }
  }
]
