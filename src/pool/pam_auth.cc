// PAM, service `pgbouncer`, as PgBouncer and its users' /etc/pam.d know it.
#include <security/pam_appl.h>

#include <cstdlib>
#include <cstring>

#include "pool/blocking_auth.h"

namespace pgvigil::pool {
namespace {

constexpr const char* kService = "pgbouncer";

// Every prompt that hides its answer is answered with the password; what is said otherwise is nobody's here.
int converse(int count, const pam_message** messages, pam_response** answers, void* secret) {
  if (count <= 0 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
  auto* made = static_cast<pam_response*>(std::calloc(static_cast<std::size_t>(count), sizeof(pam_response)));
  if (made == nullptr) return PAM_BUF_ERR;
  for (int i = 0; i < count; ++i) {
    if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF) made[i].resp = strdup(static_cast<const char*>(secret));
  }
  *answers = made;
  return PAM_SUCCESS;
}

}  // namespace

Result<void> check_pam(const BlockingAuth::Request& request) {
  pam_handle_t* handle = nullptr;
  const pam_conv conversation{converse, const_cast<char*>(request.password.reveal().c_str())};
  int status = pam_start(kService, request.user.c_str(), &conversation, &handle);
  if (status != PAM_SUCCESS) {
    return fail(Errc::InvalidConfig, "cannot start PAM", kService, "pam_start failed",
                "there has to be a file /etc/pam.d/pgbouncer");
  }
  status = pam_set_item(handle, PAM_RHOST, request.remote.c_str());
  // Without PAM_SILENT some modules write to standard error.
  if (status == PAM_SUCCESS) status = pam_authenticate(handle, PAM_SILENT);
  if (status == PAM_SUCCESS) status = pam_acct_mgmt(handle, PAM_SILENT);
  const char* text = pam_strerror(handle, status);
  const std::string reason = text != nullptr ? text : "unknown reason";
  pam_end(handle, status);
  if (status == PAM_SUCCESS) return {};
  return fail(Errc::Unauthorized, "PAM refuses the user", request.user, reason);
}

}  // namespace pgvigil::pool
