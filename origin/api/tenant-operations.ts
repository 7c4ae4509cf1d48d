import {
  ApiKeyAnswer,
  ApiKeyListAnswer,
  AuditListAnswer,
  NewApiKeyAnswer,
  TenantAnswer,
  TenantListAnswer,
} from '#origin/api/answers.ts';
import { ListQuery } from '#origin/api/list-query.ts';
import { operation } from '#origin/api/operation.ts';
import {
  AuditQuery,
  CreateApiKey,
  CreateTenant,
  TenantListQuery,
  UpdateTenant,
} from '#origin/api/tenant-requests.ts';

const TENANT = '/api/v1/tenants/{id}';
const API_KEY = '/api/v1/api-keys/{id}';
const ADMIN = ['admin'] as const;

export const TENANT_OPERATIONS = {
  create: operation({
    id: 'createTenant',
    method: 'post',
    path: '/api/v1/tenants',
    tag: 'Tenants',
    summary: 'Makes a tenant',
    scopes: 'root',
    body: CreateTenant,
    isIdempotent: true,
    status: 201,
    answer: TenantAnswer,
    problems: { 409: ['tenant_exists'] },
  }),
  list: operation({
    id: 'listTenants',
    method: 'get',
    path: '/api/v1/tenants',
    tag: 'Tenants',
    summary: 'The tenants, by id',
    scopes: 'root',
    query: TenantListQuery,
    status: 200,
    answer: TenantListAnswer,
  }),
  get: operation({
    id: 'getTenant',
    method: 'get',
    path: TENANT,
    tag: 'Tenants',
    summary: 'A tenant and its limits',
    scopes: 'root',
    status: 200,
    answer: TenantAnswer,
    problems: { 404: ['tenant_not_found'] },
  }),
  update: operation({
    id: 'updateTenant',
    method: 'patch',
    path: TENANT,
    tag: 'Tenants',
    summary: 'Changes what is given; limits count from the next stream and publish on',
    scopes: 'root',
    body: UpdateTenant,
    status: 200,
    answer: TenantAnswer,
    problems: { 404: ['tenant_not_found'] },
  }),
  delete: operation({
    id: 'deleteTenant',
    method: 'delete',
    path: TENANT,
    tag: 'Tenants',
    summary: 'Deletes a tenant that has no streams, its API keys too',
    scopes: 'root',
    status: 204,
    problems: { 404: ['tenant_not_found'], 409: ['tenant_not_empty', 'tenant_is_default'] },
  }),
};

export const API_KEY_OPERATIONS = {
  create: operation({
    id: 'createApiKey',
    method: 'post',
    path: '/api/v1/api-keys',
    tag: 'API keys',
    summary: 'Makes a key of the API and shows it, this once',
    scopes: ADMIN,
    body: CreateApiKey,
    isIdempotent: true,
    status: 201,
    answer: NewApiKeyAnswer,
    problems: { 404: ['tenant_not_found'], 409: ['api_keys_exhausted'] },
  }),
  list: operation({
    id: 'listApiKeys',
    method: 'get',
    path: '/api/v1/api-keys',
    tag: 'API keys',
    summary: 'The keys of the API, newest first, without the keys themselves',
    scopes: ADMIN,
    query: ListQuery,
    status: 200,
    answer: ApiKeyListAnswer,
  }),
  get: operation({
    id: 'getApiKey',
    method: 'get',
    path: API_KEY,
    tag: 'API keys',
    summary: 'What is known of a key of the API',
    scopes: ADMIN,
    status: 200,
    answer: ApiKeyAnswer,
    problems: { 404: ['api_key_not_found'] },
  }),
  delete: operation({
    id: 'deleteApiKey',
    method: 'delete',
    path: API_KEY,
    tag: 'API keys',
    summary: 'Ends a key: here at once, on other origins within two seconds',
    scopes: ADMIN,
    status: 204,
    problems: { 404: ['api_key_not_found'] },
  }),
};

export const LIST_AUDIT = operation({
  id: 'listAudit',
  method: 'get',
  path: '/api/v1/audit',
  tag: 'Audit',
  summary: 'What was changed by whom, newest first',
  scopes: ['ops'],
  query: AuditQuery,
  status: 200,
  answer: AuditListAnswer,
});
