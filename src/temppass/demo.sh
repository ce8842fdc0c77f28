# A software statement of the demo application, and the whole walk. Paste it into a shell.
STATEMENT='@STATEMENT@'
URL=@URL@
json() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

# 1. register: the statement becomes client credentials
CLIENT=$(@CURL@ $URL/o/client/register --json '{"software_statement":"'$STATEMENT'"}')
CLIENT_ID=$(echo "$CLIENT" | json client_id)
CLIENT_SECRET=$(echo "$CLIENT" | json client_secret)

# 2. token: the credentials become an access token
TOKEN=$(@CURL@ $URL/o/client/token -d grant_type=client_credentials \
  -d client_id=$CLIENT_ID -d client_secret=$CLIENT_SECRET | json access_token)

# 3. authorize: two free titles are permitted, the third is denied
VIEWER=$(date +%s)$$             # a new one each time, so that the walk can be taken again
DEVICE=living-room-tv-$VIEWER
KEY=$(printf %064d "$VIEWER")    # stands for the SHA-256 of the viewer's e-mail address
authorize() {
  @CURL@ $URL/api/v2/REF/decisions/authorize/flexibleTempPass -H "Authorization: Bearer $TOKEN" \
    -H "AP-Device-Identifier: fingerprint $(printf %s $DEVICE | base64)" \
    -H "AP-TempPass-Identity: $(printf '{"email":"%s"}' $KEY | base64 | tr -d '\n')" \
    --json '{"resources":["'$1'"]}'; echo
}
authorize FILM-1
authorize FILM-2
authorize FILM-3

# 4. reset: the device, and the viewer's key, because the pass knows the viewer by both
reset() { @CURL@ -o /dev/null -w '%{http_code}\n' -X DELETE -H "Authorization: Bearer $TOKEN" "$URL/reset-tempass/v3/$1"; }
reset "reset?device_id=$DEVICE&requestor_id=REF&mvpd_id=flexibleTempPass"
reset "reset/generic?key=$KEY&requestor_id=REF&mvpd_id=flexibleTempPass"

# 5. authorize: permitted again
authorize FILM-3
