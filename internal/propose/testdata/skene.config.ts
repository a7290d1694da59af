import { defineLoop } from '@skene/growth';

// The freemium gate.
export const freemium = defineLoop({
  id: 'freemium-gate',
  name: 'Freemium gating',
  opinion: 'Enforce usage limits for free tier users and trigger upgrade prompts',
  trigger: {
    type: 'api',
    endpoint: '/api/features/*',
    method: 'POST',
  },
  condition: {
    type: 'usage',
    limit: { free: 100, paid: Infinity },
    period: '30d',
  },
  action: {
    type: 'block',
    message: 'You've reached your free tier limit. Upgrade to continue.',
    upgradePrompt: { type: 'email', provider: 'resend', template: 'upgrade_prompt' },
  },
  recovery: { retries: 3, fallback: "queue" },
} as const);
